package batch

// seen remembers whom a writer has logged with a key and minute, so that a user who
// does ten things in a minute is logged once, not ten times. It is forgetful: each
// place holds who came last, and forgetting only logs a user again, which changes
// nothing. It must not remember what was never committed; see Recount and Forget.
//
// A megabyte stays in the processor's cache. Measured on generated traffic, it keeps 45%
// of the users out of the log.
type seen [1 << seenBits]uint64

const seenBits = 17

// add reports whether the user is not known to be logged, and remembers it.
func (s *seen) add(counter uint32, minute int32, user uint32) bool {
	const a, b = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93 // odd, so that nothing is lost
	mark := (uint64(counter)<<32|uint64(user))*a ^ uint64(uint32(minute))*b
	mark *= a
	place := &s[mark>>(64-seenBits)]
	if *place == mark {
		return false
	}
	*place = mark
	return true
}
