package event

import "strconv"

// Elements splits a JSON array into the texts of its elements, checking the array's
// syntax as a whole. An element need not be an event; Parse tells. Of an array of more
// than most, it returns the first most+1 and reads no further.
func Elements(array string, most int) (elements []string, invalid Invalid) {
	s := scanner{in: array}
	s.space()
	if !s.take('[') {
		return nil, Invalid{{"", "must be a JSON array of events"}}
	}
	s.space()
	for first := true; s.err == "" && !s.take(']'); first = false {
		if !first {
			if !s.take(',') {
				s.fail("expected ',' or ']'")
				break
			}
			s.space()
		}
		element, _ := s.value()
		if s.err != "" {
			break
		}
		if elements = append(elements, element); len(elements) > most {
			return elements, nil
		}
		s.space()
	}
	if s.space(); s.err == "" && s.at < len(array) {
		s.fail("unexpected text after the array")
	}
	if s.err != "" {
		return nil, Invalid{{"", "is not valid JSON: " + s.err + " at byte " + strconv.Itoa(s.at)}}
	}
	return elements, nil
}
