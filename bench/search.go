package main

import "math"

// search finds the highest rate that a system sustains, by trying: up by half while it
// holds; when it does not, to what it managed to write, and then between the highest
// that held and the lowest that did not.
type search struct {
	rate      float64 // to try next
	low, high float64 // the highest that held, the lowest that did not; 0: none yet
	most      float64 // rates above cannot be offered
	precision float64 // ends when high is above low by no more than this share
}

// done tells whether low is as near to the limit as is wanted.
func (s *search) done() bool {
	return s.low >= s.most || s.high > 0 && s.low > 0 && s.high <= s.low*(1+s.precision) || s.high > 0 && s.high < 1
}

// learn takes in whether the rate held, and how much was written while it was offered.
func (s *search) learn(held bool, written float64) {
	if held {
		s.low = max(s.low, s.rate)
		if s.high <= s.low {
			s.high = 0 // what failed below was chance
		}
	} else if s.high == 0 || s.rate < s.high {
		s.high = s.rate
		if s.low >= s.high {
			s.low = 0 // what held above was chance
		}
	}
	switch {
	case s.high == 0:
		s.rate = min(s.most, s.low*1.5)
	case s.low == 0:
		// What it writes while too much is there is about what it can write.
		s.rate = min(0.8*s.high, max(0.95*written, 0.3*s.high))
	case written > s.low*(1+s.precision) && written < 0.97*s.high && !held:
		s.rate = written
	default:
		s.rate = math.Sqrt(s.low * s.high)
	}
}
