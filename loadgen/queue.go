package loadgen

// queue is a min-heap of slots by when they are due.
type queue []turn

type turn struct {
	due  float64
	slot int
}

func (q *queue) push(t turn) {
	*q = append(*q, t)
	h, i := *q, len(*q)-1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].due <= t.due {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = t
}

// pop needs a queue that is not empty.
func (q *queue) pop() turn {
	h := *q
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	if len(h) == 0 {
		return top
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if other := child + 1; other < len(h) && h[other].due < h[child].due {
			child = other
		}
		if last.due <= h[child].due {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = last
	return top
}
