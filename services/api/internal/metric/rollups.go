package metric

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/shared/rollup"
	"weir/services/shared/unique"
)

// statement is SQL under construction. Its text is made of constants only: whatever
// comes from a client is an argument.
type statement struct{ args []any }

// arg adds an argument and returns its placeholder.
func (s *statement) arg(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

// rollups is a counter that reads the counts that are kept by minute, hour and day.
type rollups struct {
	tx     pgx.Tx
	memory *memory
	question
	types     *[]string        // that the filter asks for; nil is any
	values    *[]string        // of dimension, in the same way
	dimension rollup.Dimension // in the filter or grouped by; else All

	unlisted map[string]filter.Expr // what the filter says of type and dimension otherwise, see resolve

	// What was told already of the state of the rollups: a question asks for several totals of
	// its range, all in one snapshot.
	current map[bool]func(part, time.Time) version // of counts, by whether the parts are those of buckets
	known   map[told][]*folds                      // of sets, see folds
}

const (
	// mostBlocks is how many blocks one question takes from memory: some 15 MB of counts by
	// type. More are added up by the database.
	mostBlocks = 50_000
	// mostFine is how many of these, of a dimension's many keys, are finer than a day: the ends
	// of a range have 164 at most.
	mostFine = 200
)

// list has the filter take these only of a field.
func (r *rollups) list(field string, values *[]string) {
	if field == "type" {
		r.types = values
	} else {
		r.values = values
	}
}

// mostValues bounds how many values of a field a filter may take, when it does not list them:
// with more, the rows themselves are no slower.
const mostValues = 10_000

// resolve lists what the filter takes of a field that it says something else of, such as
// contains or not, from all the values that ever were. It may tell why that cannot be done.
func (r *rollups) resolve(ctx context.Context) (why string, err error) {
	for field, part := range r.unlisted {
		d := r.dimension
		if field == "type" {
			d = rollup.All
		}
		rows, err := r.tx.Query(ctx, `SELECT DISTINCT `+label(field)+` FROM rollup_keys WHERE dimension = $1`, int16(d))
		if err != nil {
			return "", err
		}
		taken := []string{}
		var value string
		if _, err := pgx.ForEachRow(rows, []any{&value}, func() error {
			if part.MatchText(field, value) {
				taken = append(taken, value)
			}
			return nil
		}); err != nil {
			return "", err
		}
		if len(taken) > mostValues {
			return fmt.Sprintf("a filter that takes more than %d values of %s", mostValues, field), nil
		}
		r.list(field, &taken)
	}
	return "", nil
}

func (r rollups) top(ctx context.Context, field string, limit int) ([]group, error) {
	cells, err := r.count(ctx, []string{field}, nil, false)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(cells, func(a, b cell) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), strings.Compare(a.labels[0], b.labels[0]))
	})
	groups := make([]group, min(limit, len(cells)))
	for i := range groups {
		groups[i] = group{cells[i].labels[0], cells[i].Numbers}
	}
	return groups, nil
}

func (r rollups) count(ctx context.Context, by []string, keep map[string][]string, bucketed bool) ([]cell, error) {
	// Of a dimension's many keys, by buckets that need minutes or hours, far fewer are asked
	// for than a block has; and the blocks would push all else out of memory.
	d, all, fine := r.dimensionOf(by...), 0, 0
	parts := r.parts(bucketed)
	if r.values == nil {
		all, fine = cells(parts)
	}
	if r.values == nil && all <= mostBlocks && (d == rollup.All || fine <= mostFine) {
		return r.remembered(ctx, d, by, keep, bucketed)
	}
	var s statement
	columns, join := r.columns(&s, by, bucketed)
	rows, err := r.tx.Query(ctx, `
SELECT `+columns+`, sum(cell.events)::bigint, sum(cell.value)::text
FROM (
    `+r.read(&s, d, keep, parts, "events, value", "rollup_deltas", func(g grain) string { return g.folded })+`
) AS cell`+join+`
GROUP BY 1, 2, 3`, s.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c cell, err error) {
		return c, row.Scan(&c.bucket, &c.labels[0], &c.labels[1], &c.Events, &c.Value)
	})
}

func (r rollups) byType(ctx context.Context, w who) (types []cell, all int64, err error) {
	var union unique.Set
	types, err = r.sets(ctx, w, []string{"type"}, nil, union.Union)
	return types, union.Count(), err
}

func (r rollups) unique(ctx context.Context, w who, by []string, keep map[string][]string, bucketed bool) ([]cell, error) {
	if !bucketed {
		return r.sets(ctx, w, by, keep, func(*unique.Set) {})
	}
	d := r.kept(w, by...)
	c, err := r.choose(ctx, d, by, keep)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return r.merge(ctx, d, by, keep, true, r.parts(true), func(*unique.Set) {})
	}
	return r.overTime(ctx, d, by, keep, c)
}

// sets counts over the whole range, and calls done with the set of each cell.
func (r rollups) sets(ctx context.Context, w who, by []string, keep map[string][]string, done func(*unique.Set)) (cells []cell, err error) {
	d := r.kept(w, by...)
	c, err := r.choose(ctx, d, by, keep)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return r.merge(ctx, d, by, keep, false, r.parts(false), done)
	}
	sets, err := r.unite(ctx, d, c)
	if err != nil {
		return nil, err
	}
	for labels, set := range sets {
		cells = append(cells, cell{labels: labels, n: set.Count()})
		done(set)
	}
	return cells, nil
}

// merge merges the sets of some parts, and calls done with that of each cell. They come cell
// by cell, so that one cell's set is in memory.
func (r rollups) merge(ctx context.Context, d rollup.Dimension, by []string, keep map[string][]string, bucketed bool, parts []part, done func(*unique.Set)) (cells []cell, err error) {
	var s statement
	columns, join := r.columns(&s, by, bucketed)
	order := "\nORDER BY 1, 2, 3"
	if len(by) == 0 && !bucketed {
		order = ""
	}
	rows, err := r.tx.Query(ctx, `
SELECT `+columns+`, users
FROM (
    `+r.read(&s, d, keep, parts, "users", "rollup_user_deltas", func(g grain) string { return g.foldedUsers })+`
) AS cell`+join+order, s.args...)
	if err != nil {
		return nil, err
	}
	var set unique.Set
	var at cell
	var encoded pgtype.DriverBytes // valid until the next row, which is long enough
	finish := func() {
		if len(cells) == 0 {
			return
		}
		cells[len(cells)-1].n = set.Count()
		done(&set)
	}
	_, err = pgx.ForEachRow(rows, []any{&at.bucket, &at.labels[0], &at.labels[1], &encoded}, func() error {
		if n := len(cells); n == 0 || cells[n-1].bucket != at.bucket || cells[n-1].labels != at.labels {
			finish()
			cells, set = append(cells, at), unique.Set{}
		}
		return set.Merge(encoded)
	})
	if err != nil {
		return nil, err
	}
	finish()
	return cells, nil
}

// columns are the bucket's index and two labels; join is what they need.
func (r rollups) columns(s *statement, by []string, bucketed bool) (columns, join string) {
	columns = "0"
	if bucketed {
		columns = "width_bucket(bucket, " + s.arg(r.buckets) + "::timestamptz[]) - 1"
	}
	for i := range 2 {
		if i < len(by) {
			columns += ", " + label(by[i])
			join = " JOIN rollup_keys ON id = key_id"
		} else {
			columns += ", ''"
		}
	}
	return columns, join
}

// label is the column of rollup_keys that has a field's value.
func label(field string) string {
	if field == "type" {
		return "rollup_keys.type"
	}
	return "rollup_keys.value"
}

// dimensionOf is the one whose keys tell the fields apart, and pass the filter.
func (r rollups) dimensionOf(by ...string) rollup.Dimension {
	if r.values != nil || slices.ContainsFunc(by, func(f string) bool { return f != "type" }) {
		return r.dimension
	}
	return rollup.All
}

// kept is the dimension under which the sets of users or sessions by the fields are kept.
func (r rollups) kept(w who, by ...string) rollup.Dimension {
	if w == sessions {
		return rollup.Sessions
	}
	return r.dimensionOf(by...)
}

// parts covers the range, by buckets or as a whole.
func (r rollups) parts(bucketed bool) []part {
	if !bucketed {
		return parts(r.Span, nil)
	}
	return parts(r.Span, r.buckets)
}

// needs are the tables that are read. What is read without buckets needs no more.
func (r rollups) needs() (list []query.Need) {
	for _, p := range r.parts(len(r.buckets) > 0) {
		list = append(list, query.Need{Table: p.folded, From: p.From, Instead: p.instead})
		if len(r.who) > 0 {
			list = append(list, query.Need{Table: p.foldedUsers, From: p.From, Instead: p.instead})
		}
	}
	return list
}

// read is a query of cells (bucket, key_id, columns): of parts of the range, and of all in it
// that is not folded yet, which the log has by minutes. The log is read once, not by the views,
// each of which reads it: it has no index, so that nothing slows its writers. All is read by
// one statement, so in one snapshot: a fold that commits meanwhile is seen wholly or not at
// all.
func (r rollups) read(s *statement, d rollup.Dimension, keep map[string][]string, parts []part, columns, log string, from func(grain) string) string {
	where := " WHERE dimension = " + s.arg(int16(d))
	keys := ""
	if r.narrows(d, keep) {
		// They are looked up first, so that the index tells which cells not to visit.
		keys = " AND key_id = ANY (ARRAY(SELECT id FROM rollup_keys WHERE " + r.passing(s, d, keep) + "))"
	}
	var selects []string
	for _, p := range parts {
		selects = append(selects, "SELECT bucket, key_id, "+columns+" FROM "+from(p.grain)+where+
			" AND bucket >= "+s.arg(p.From)+" AND bucket < "+s.arg(p.To)+keys)
	}
	selects = append(selects, "SELECT to_timestamp(minute * 60::bigint) AS bucket, key_id, "+columns+" FROM "+log+where+
		" AND minute >= "+s.arg(r.From.Unix()/60)+" AND minute < "+s.arg(r.To.Unix()/60)+keys)
	return strings.Join(selects, "\n    UNION ALL\n    ")
}

// narrows reports whether there are keys of a dimension that do not pass the filter or are
// not kept.
func (r rollups) narrows(d rollup.Dimension, keep map[string][]string) bool {
	return r.types != nil || r.values != nil && d == r.dimension || len(keep) > 0
}

// passing says of rollup_keys which pass the filter and are kept.
func (r rollups) passing(s *statement, d rollup.Dimension, keep map[string][]string) string {
	if d == rollup.Sessions {
		d = rollup.All // whose keys they are under
	}
	sql := "dimension = " + s.arg(int16(d))
	if r.types != nil {
		sql += " AND type = ANY (" + s.arg(*r.types) + "::text[])"
	}
	if r.values != nil && d == r.dimension {
		sql += " AND value = ANY (" + s.arg(*r.values) + "::text[])"
	}
	for field, values := range keep {
		sql += " AND " + label(field) + " = ANY (" + s.arg(values) + "::text[])"
	}
	return sql
}
