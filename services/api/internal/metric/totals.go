package metric

import (
	"slices"

	"weir/services/api/internal/decimal"
)

// Numbers are the numbers that every question has for a set of events. It is exported
// because Huma reads embedded structs only then.
type Numbers struct {
	Events   int64          `json:"events" doc:"How many events happened" example:"1234"`
	Value    decimal.Micros `json:"value" doc:"Sum of their values"`
	Users    *int64         `json:"users,omitempty" doc:"Unique users, by user_id, else anonymous_id; if asked for in metrics. Of all else it cannot be told, as a user may be in several groups" example:"420"`
	Sessions *int64         `json:"sessions,omitempty" doc:"Distinct session_ids; if asked for in metrics, and not of all else" example:"510"`
}

// add adds what may be added: users and sessions may not.
func (t *Numbers) add(o Numbers) { t.Events, t.Value = t.Events+o.Events, t.Value.Add(o.Value) }

// sub is its reverse.
func (t *Numbers) sub(o Numbers) { t.Events, t.Value = t.Events-o.Events, t.Value.Sub(o.Value) }

// set puts a count of users or sessions in its place.
func (t *Numbers) set(w who, n int64) {
	if w == users {
		t.Users = &n
	} else {
		t.Sessions = &n
	}
}

// who is what is counted once however often it comes. Its text is the metric's name.
type who string

const (
	users    who = "users"
	sessions who = "sessions"
)

// Wanted is the parameter that says which numbers are wanted.
type Wanted struct {
	Metrics []string `query:"metrics" maxItems:"4" enum:"events,users,sessions,value" doc:"Numbers that are wanted, separated by commas. Events and value always come, as they cost nothing; users and sessions when they are named" example:"events,users"`
}

// who lists what is to be counted once.
func (w Wanted) who() (list []who) {
	for _, one := range []who{users, sessions} {
		if slices.Contains(w.Metrics, string(one)) {
			list = append(list, one)
		}
	}
	return list
}
