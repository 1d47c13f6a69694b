// Package key maps write keys to the sources that they stand for.
package key

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"weir/services/shared/event"
)

// ErrMissing and ErrWrong say why a request has no sender.
var (
	ErrMissing = errors.New("a write key is required: send it as `Authorization: Bearer <key>`, as the user name of Basic authentication, as the header `X-Write-Key`, or as `write_key` in the query")
	ErrWrong   = errors.New("the write key is not known")
)

// ID is a key's digest, which tells it from the others.
type ID [sha256.Size]byte

// Keys are the write keys that are accepted.
type Keys struct {
	ids     []ID
	sources []string
}

// Parse reads a list of source=key.
func Parse(list []string) (Keys, error) {
	var k Keys
	var errs []error
	for i, pair := range list {
		source, key, ok := strings.Cut(pair, "=")
		switch {
		case !ok || key == "":
			errs = append(errs, fmt.Errorf("entry %d must look like source=key", i+1))
		case !event.ValidSource(source):
			errs = append(errs, fmt.Errorf("entry %d has a source that no event may have", i+1))
		default:
			k.ids = append(k.ids, sha256.Sum256([]byte(key)))
			k.sources = append(k.sources, source)
		}
	}
	return k, errors.Join(errs...)
}

// Empty reports whether there are no keys: development, where anybody may send.
func (k Keys) Empty() bool { return len(k.ids) == 0 }

// Sender is who a key stands for.
type Sender struct {
	Source string // of the events; "" leaves it to them, in development only
	Key    ID     // which of the keys it was; zero where there are none
}

// Find returns the sender that a key stands for. Without keys, in development, a key
// that is given is the source's name itself, and none is nobody's. The error is
// ErrMissing or ErrWrong.
func (k Keys) Find(given string) (Sender, error) {
	if k.Empty() {
		if given != "" && !event.ValidSource(given) {
			return Sender{}, fmt.Errorf("%w: without configured keys it is taken as the source's name, which has 1 to 64 letters, digits, or any of _ . : / -", ErrWrong)
		}
		return Sender{Source: given}, nil
	}
	if given == "" {
		return Sender{}, ErrMissing
	}
	// Hashes of equal length, compared with each in constant time: how long it takes
	// tells nothing about the keys.
	sum, found := sha256.Sum256([]byte(given)), -1
	for i := range k.ids {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], k.ids[i][:]), i, found)
	}
	if found < 0 {
		return Sender{}, ErrWrong
	}
	return Sender{k.sources[found], k.ids[found]}, nil
}

// Given returns the key that a request brings: in a header of its own, in
// Authorization (Bearer, or Basic, where it is the user name), or, for browsers that
// can set neither, in the query.
func Given(authorization, header, query string) string {
	if header != "" {
		return header
	}
	scheme, value, _ := strings.Cut(authorization, " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		return strings.TrimSpace(value)
	case "basic":
		plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil {
			break
		}
		user, _, _ := strings.Cut(string(plain), ":")
		return user
	}
	return query
}
