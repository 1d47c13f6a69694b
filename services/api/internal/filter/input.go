package filter

import (
	"weir/services/api/internal/query"
)

// Input are the parameters that every question about events has; operations embed it.
type Input struct {
	Filter string `query:"filter" maxLength:"4096" doc:"Only events for which this holds. Fields: type, source, user_id, anonymous_id, session_id, path, referrer, country, device, browser, os, value, currency, time, properties.name. Conditions: is, is not, in (...), not in (...), contains, exists, and < <= > >= for numbers and times; joined by and, or, not and parentheses. Strings are in double quotes. At most 4 KiB, 64 conditions, 16 levels, 100 values in a list" example:"type is \"purchase\" and country in (\"DE\", \"FR\")"`
	Type   string `query:"type" pattern:"^[a-z][a-z0-9_.]{0,63}$" doc:"Only events of this type; short for a filter" example:"page_view"`
	Source string `query:"source" pattern:"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$" doc:"Only events from this source; short for a filter" example:"web"`
}

// Expr is what the three parameters ask for together. The error is a 422 problem that
// names the parameter.
func (in Input) Expr() (Expr, error) {
	e, err := Parse(in.Filter)
	if err != nil {
		return Expr{}, query.Invalid("filter", err.Error(), in.Filter)
	}
	if in.Type != "" {
		e = And(e, Is("type", in.Type))
	}
	if in.Source != "" {
		e = And(e, Is("source", in.Source))
	}
	return e, nil
}
