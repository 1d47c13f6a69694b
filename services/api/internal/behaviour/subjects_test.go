package behaviour

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEverySubjectHasAStateOfItsOwn(t *testing.T) {
	t.Parallel()
	const many = 3*subjectBlock + 1 // it grows, and more than once
	who := func(i int) hash { return hashOf(fmt.Append(nil, i)) }
	s := newSubjects[int]("numbers")
	for i := range many {
		require.Nil(t, s.find(who(i)))
		state, err := s.add(who(i))
		require.NoError(t, err)
		require.Zero(t, *state)
		*state = i + 1
		require.Same(t, state, s.find(who(i)))
	}
	// Those that have the same place in the table, too.
	for i := range hash(100) {
		state, err := s.add(i<<40 | 1)
		require.NoError(t, err)
		*state = many + int(i) + 1
	}
	next := 0
	for state := range s.all() {
		next++
		require.Equal(t, next, *state, "in the order in which they came")
	}
	require.Equal(t, many+100, next)
	for i := range many {
		require.Equal(t, i+1, *s.find(who(i)))
	}
	for i := range hash(100) {
		require.Equal(t, many+int(i)+1, *s.find(i<<40 | 1))
	}
}
