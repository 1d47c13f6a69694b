package query

import (
	"sort"
	"sync"
	"time"
)

// mark is how far the primary's log had come: what was committed before at lies before
// position.
type mark struct {
	at       time.Time
	position int64
}

// The time is read before the position, so that no commit is between them. The position
// is of what is on disk, as everything is whose commit was answered.
const markSQL = `SELECT clock_timestamp(), pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint`

// maxMarks is an hour of them. A replica that is further behind tells the time of its
// last commit.
const maxMarks = 3600

// marks are the latest of the primary, in order. They turn a replica's position into a
// time by the primary's clock.
type marks struct {
	mu   sync.Mutex
	list []mark
}

func (m *marks) add(next mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.list)
	switch {
	case n > 0 && m.list[n-1].position == next.position: // nothing was written since
		m.list[n-1] = next
		return
	case n > 0 && m.list[n-1].position > next.position: // another server, with another log
		m.list = m.list[:0]
	case n == maxMarks:
		m.list = append(m.list[:0], m.list[maxMarks/2:]...)
	}
	m.list = append(m.list, next)
}

// through returns the latest time of which everything lies before position; the zero
// time when that is not known.
func (m *marks) through(position int64) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := sort.Search(len(m.list), func(i int) bool { return m.list[i].position > position })
	if i == 0 {
		return time.Time{}
	}
	return m.list[i-1].at
}

// latest is the time of the latest mark, or of now before the first.
func (m *marks) latest() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.list) == 0 {
		return time.Now()
	}
	return m.list[len(m.list)-1].at
}
