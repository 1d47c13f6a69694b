package behaviour

import "iter"

const subjectBlock = 4096

// subjects has a state for each user, or session, of an answer. None of them is 0.
//
// It is a hash table of its own, with linear probing and never more than half full: keys are
// hashes already, and nothing is taken out. Go's map, made for every kind of key, makes a day
// of 410,000 sessions take a fifth more processor time.
type subjects[S any] struct {
	of     string // what they are, for the error when there are too many
	count  int
	seats  []seat // a power of two
	blocks [][]S  // one long list would be copied again and again as it grows
}

// seat is where a subject is found. It has no pointers, which would all be looked at in
// each garbage collection.
type seat struct {
	who   hash // 0 when it is free
	state int32
}

func newSubjects[S any](of string) *subjects[S] {
	return &subjects[S]{of: of, seats: make([]seat, 2*subjectBlock)}
}

// seat returns the seat of someone, which is free when they were not added.
func (s *subjects[S]) seat(who hash) *seat {
	for i := who >> 1; ; i++ { // the lowest bit is always set
		at := &s.seats[i&hash(len(s.seats)-1)]
		if at.who == who || at.who == 0 {
			return at
		}
	}
}

func (s *subjects[S]) state(n int) *S { return &s.blocks[n/subjectBlock][n%subjectBlock] }

// find returns the state of someone who was added; nil for anybody else.
func (s *subjects[S]) find(who hash) *S {
	if at := s.seat(who); at.who == who {
		return s.state(int(at.state))
	}
	return nil
}

// add returns the new, zero state of someone who was not added before.
func (s *subjects[S]) add(who hash) (*S, error) {
	n := s.count
	if n == maxSubjects {
		return nil, tooMuch(s.of)
	}
	if n == len(s.seats)/2 {
		before := s.seats
		s.seats = make([]seat, 2*len(before))
		for _, at := range before {
			if at.who != 0 {
				*s.seat(at.who) = at
			}
		}
	}
	if n%subjectBlock == 0 {
		s.blocks = append(s.blocks, make([]S, subjectBlock))
	}
	s.count++
	*s.seat(who) = seat{who, int32(n)}
	return s.state(n), nil
}

// all goes through the states in the order in which they were added.
func (s *subjects[S]) all() iter.Seq[*S] {
	return func(yield func(*S) bool) {
		for n := range s.count {
			if !yield(s.state(n)) {
				return
			}
		}
	}
}
