package metric

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

type breakdownInput struct {
	span.Between
	span.Known
	filter.Input
	Rows        string `query:"rows" required:"true" enum:"type,source,path,referrer,country,device,browser,os" doc:"The field whose values are the rows" example:"country"`
	Columns     string `query:"columns" required:"true" enum:"type,source,path,referrer,country,device,browser,os" doc:"The field, another one, whose values are the columns" example:"type"`
	RowLimit    int    `query:"row_limit" minimum:"1" maximum:"100" default:"10" doc:"How many rows are shown apart"`
	ColumnLimit int    `query:"column_limit" minimum:"1" maximum:"50" default:"5" doc:"How many columns are shown apart"`
}

// Heading is a row or a column. It is exported because Huma reads embedded structs only then.
type Heading struct {
	Name  *string `json:"name,omitempty" doc:"The field's value; absent of all else" example:"DE"`
	Other bool    `json:"other" doc:"Whether this is all else: the other values, and the events that have none"`
	Numbers
}

type breakdownRow struct {
	Heading
	Cells []Numbers `json:"cells" nullable:"false" doc:"One for each column, in their order"`
}

type breakdownMeta struct {
	span.Meta
	Rows    string `json:"rows" example:"country"`
	Columns string `json:"columns" example:"type"`
}

type breakdown struct {
	Meta    breakdownMeta  `json:"meta"`
	Total   Numbers        `json:"total" doc:"All events"`
	Columns []Heading      `json:"columns" nullable:"false" doc:"Most events first; all else last"`
	Rows    []breakdownRow `json:"rows" nullable:"false" doc:"Most events first; all else last. All cells together are all events"`
}

func registerBreakdown(api huma.API, r reader) {
	huma.Register(api, huma.Operation{
		OperationID: "get-metrics-breakdown", Method: http.MethodGet, Path: "/v1/metrics/breakdown", Tags: []string{"Metrics"},
		Summary: "Events by two fields",
		Description: "A table of events and values: the most frequent values of one field by those of another, each with all else. " +
			"Rollups answer when one of the fields is type. " + exactly,
		Security: access.Required(), Errors: query.Errors, Responses: span.NotModified(),
	}, func(ctx context.Context, in *breakdownInput) (*span.Output[breakdown], error) {
		q, err := about(in.Between, in.Input)
		if err != nil {
			return nil, err
		}
		if in.Rows == in.Columns {
			return nil, query.Invalid("columns", "must be another field than rows", in.Columns)
		}
		q.by = []string{in.Rows, in.Columns}
		out := &breakdown{Meta: breakdownMeta{Rows: in.Rows, Columns: in.Columns}}
		out.Meta.Meta, err = q.ask(ctx, r, func(ctx context.Context, c counter) error {
			return out.read(ctx, c, q, in.RowLimit, in.ColumnLimit)
		})
		if err != nil {
			return nil, err
		}
		return span.Answer(in.Known, out.Meta.To, out.Meta.AsOf, out)
	})
}

// read finds all else by subtraction: of each column its rows, then of each row its
// columns.
func (out *breakdown) read(ctx context.Context, c counter, q question, rowLimit, columnLimit int) error {
	if err := out.Total.read(ctx, c, nil); err != nil {
		return err
	}
	rows, err := c.top(ctx, q.by[0], rowLimit)
	if err != nil {
		return err
	}
	columns, err := c.top(ctx, q.by[1], columnLimit)
	if err != nil {
		return err
	}
	rowNames, columnNames := namesOf(rows), namesOf(columns)
	cells, err := c.count(ctx, q.by, map[string][]string{q.by[0]: rowNames, q.by[1]: columnNames}, false)
	if err != nil {
		return err
	}
	out.Columns = headings(columns, out.Total)
	for _, h := range headings(rows, out.Total) {
		out.Rows = append(out.Rows, breakdownRow{h, make([]Numbers, len(out.Columns))})
	}
	for _, one := range cells {
		out.Rows[slices.Index(rowNames, one.labels[0])].Cells[slices.Index(columnNames, one.labels[1])].add(one.Numbers)
	}
	last := out.Rows[len(rows)].Cells
	for j, column := range columns {
		last[j].add(column.Numbers)
		for _, row := range out.Rows[:len(rows)] {
			last[j].sub(row.Cells[j])
		}
	}
	for _, row := range out.Rows {
		other := &row.Cells[len(columns)]
		other.add(row.Numbers)
		for _, one := range row.Cells[:len(columns)] {
			other.sub(one)
		}
	}
	return nil
}

func namesOf(groups []group) []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.name
	}
	return names
}

func headings(groups []group, total Numbers) []Heading {
	list := make([]Heading, len(groups)+1)
	other := &list[len(groups)]
	other.Other = true
	other.add(total)
	for i := range groups {
		list[i] = Heading{Name: &groups[i].name, Numbers: groups[i].Numbers}
		other.sub(groups[i].Numbers)
	}
	return list
}
