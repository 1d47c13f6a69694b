package rig

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"weir/bench/internal/report"
)

// idRows are rows of one id each.
type idRows struct {
	pgx.Rows
	ids  [][16]byte
	next int
}

func (r *idRows) Next() bool                    { r.next++; return r.next <= len(r.ids) }
func (r *idRows) Close()                        {}
func (r *idRows) Err() error                    { return nil }
func (r *idRows) CommandTag() pgconn.CommandTag { return pgconn.CommandTag{} }
func (r *idRows) Scan(to ...any) error          { *to[0].(*[16]byte) = r.ids[r.next-1]; return nil }

func TestADeadLetterOfAStoredEventHidesNoLostOne(t *testing.T) {
	t.Parallel()
	one, two, three, other := [16]byte{1}, [16]byte{2}, [16]byte{3}, [16]byte{4}
	published := func() [][16]byte { return [][16]byte{three, one, two} }
	for name, c := range map[string]struct {
		stored [][16]byte
		dead   map[[16]byte]bool
		want   report.Counts
	}{
		"all stored":                   {[][16]byte{one, two, three}, nil, report.Counts{Stored: 3}},
		"one is a dead letter":         {[][16]byte{one, two}, map[[16]byte]bool{three: true}, report.Counts{Stored: 2}},
		"one is both, another lost":    {[][16]byte{one, two}, map[[16]byte]bool{one: true}, report.Counts{Stored: 2, Lost: 1}},
		"a stranger's, and one lost":   {[][16]byte{one, two}, map[[16]byte]bool{other: true}, report.Counts{Stored: 2, Lost: 1}},
		"twice, and one not published": {[][16]byte{one, one, two, three, other}, nil, report.Counts{Stored: 3, Duplicated: 1, Foreign: 1}},
	} {
		c.want.Published = 3
		got, err := Compare(&idRows{ids: c.stored}, published(), c.dead)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}
