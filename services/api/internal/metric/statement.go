package metric

import (
	"strconv"
	"strings"
	"time"

	"weir/services/shared/rollup"
)

// statement is SQL under construction. Its text is made of constants only: whatever
// comes from a client is an argument.
type statement struct{ args []any }

// arg adds an argument and returns its placeholder.
func (s *statement) arg(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

// cells is a query of the rollup cells (bucket, key_id, events, value) of one
// dimension, from the coarsest grains up to largest. All parts are read by the one
// statement, so in one snapshot: a fold that commits meanwhile is seen wholly or
// not at all.
func (s *statement) cells(of span, largest time.Duration, d rollup.Dimension) string {
	return s.parts(of, largest, d, "bucket, key_id, events, value", func(g grain) string { return g.view })
}

// sets is a query of the sets of users (key_id, users), in the same way.
func (s *statement) sets(of span, d rollup.Dimension) string {
	return s.parts(of, 24*time.Hour, d, "key_id, users", func(g grain) string { return g.users })
}

func (s *statement) parts(of span, largest time.Duration, d rollup.Dimension, columns string, from func(grain) string) string {
	dimension := s.arg(int16(d))
	var selects []string
	for _, p := range of.parts(largest) {
		selects = append(selects, "SELECT "+columns+" FROM "+from(p.grain)+
			" WHERE dimension = "+dimension+" AND bucket >= "+s.arg(p.from)+" AND bucket < "+s.arg(p.to))
	}
	return strings.Join(selects, "\n    UNION ALL\n    ")
}

// Filter is what every question can be narrowed by.
type Filter struct {
	Type   string `query:"type" pattern:"^[a-z][a-z0-9_.]{0,63}$" doc:"Only events of this type" example:"page_view"`
	Source string `query:"source" pattern:"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$" doc:"Only events from this source" example:"web"`
}

// dimension is the one that counts by type, and by source when that is asked for.
func (f Filter) dimension() rollup.Dimension {
	if f.Source != "" {
		return rollup.Source
	}
	return rollup.All
}

// keys is a query of the rollup keys (id, label) of a dimension that pass. Only a
// key of the source dimension has a source to compare.
func (s *statement) keys(f Filter, d rollup.Dimension, label string) string {
	sql := "SELECT id, " + label + " AS label FROM rollup_keys WHERE dimension = " + s.arg(int16(d))
	if f.Type != "" {
		sql += " AND type = " + s.arg(f.Type)
	}
	if f.Source != "" && d == rollup.Source {
		sql += " AND value = " + s.arg(f.Source)
	}
	return sql
}
