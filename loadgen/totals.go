package loadgen

import "time"

// Totals is all that an oracle knows, as a document to compare a pipeline with.
type Totals struct {
	Profile string    `json:"profile"`
	Seed    uint64    `json:"seed"`
	Start   time.Time `json:"start"`

	Items    Counts        `json:"items"`
	Stored   int64         `json:"stored"` // rows, once all is consumed
	Value    int64         `json:"value_micros"`
	Actors   int           `json:"unique_actors"`
	Sessions SessionCounts `json:"sessions"`
	Funnel   []Step        `json:"funnel"`
	Days     []Cohort      `json:"retention"`
	Tallies  []Row         `json:"tallies"`
}

// Step is one step of the funnel.
type Step struct {
	Type   string `json:"type"`
	Actors int    `json:"actors"`
}

// Row is one tally: of a type within one hour, alone (dimension "") or with one value
// of one dimension.
type Row struct {
	Hour      time.Time `json:"hour"`
	Type      string    `json:"type"`
	Dimension string    `json:"dimension,omitempty"`
	Value     string    `json:"value,omitempty"`
	Count     int64     `json:"count"`
	Late      int64     `json:"late"`
	Sum       int64     `json:"sum_micros"`
}

// Totals returns what a correct pipeline must show for all that was produced.
func (g *Generator) Totals(seed uint64) Totals {
	o := g.Oracle()
	total := o.Total()
	t := Totals{
		Profile: g.profile.Name, Seed: seed, Start: g.world.start,
		Items: o.Counts(), Stored: total.Count, Value: total.Sum,
		Actors:   o.UniqueActors(time.Time{}, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)),
		Sessions: o.Sessions(), Days: o.Retention(),
	}
	for i, actors := range o.Funnel() {
		t.Funnel = append(t.Funnel, Step{FunnelSteps[i], actors})
	}
	for key, tally := range o.Tallies() {
		t.Tallies = append(t.Tallies, Row{key.Hour, key.Type, key.Dimension, key.Value, tally.Count, tally.Late, tally.Sum})
	}
	return t
}
