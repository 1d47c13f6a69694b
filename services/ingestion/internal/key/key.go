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

// ErrMissing and ErrWrong say why a request has no source.
var (
	ErrMissing = errors.New("a write key is required: send it as `Authorization: Bearer <key>`, as the user name of Basic authentication, or as `X-Write-Key`")
	ErrWrong   = errors.New("the write key is not known")
)

// Keys are the write keys that are accepted.
type Keys struct {
	sums    [][sha256.Size]byte
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
			errs = append(errs, fmt.Errorf("INGESTION_WRITE_KEYS entry %d must look like source=key", i+1))
		case !event.ValidSource(source):
			errs = append(errs, fmt.Errorf("INGESTION_WRITE_KEYS entry %d has a source that no event may have", i+1))
		default:
			k.sums = append(k.sums, sha256.Sum256([]byte(key)))
			k.sources = append(k.sources, source)
		}
	}
	return k, errors.Join(errs...)
}

// Empty reports whether there are no keys: development, where anybody may send.
func (k Keys) Empty() bool { return len(k.sums) == 0 }

// Source returns the source that a request's headers stand for. Without keys, in
// development, a key that is given is the source's name itself, and none gives "".
func (k Keys) Source(authorization, writeKey string) (string, error) {
	given := fromHeaders(authorization, writeKey)
	if k.Empty() {
		if given != "" && !event.ValidSource(given) {
			return "", fmt.Errorf("%w: without configured keys it is taken as the source's name, which has 1 to 64 letters, digits, or any of _ . : / -", ErrWrong)
		}
		return given, nil
	}
	if given == "" {
		return "", ErrMissing
	}
	// Hashes of equal length, compared with each in constant time: how long it takes
	// tells nothing about the keys.
	sum, source := sha256.Sum256([]byte(given)), ""
	for i := range k.sums {
		if subtle.ConstantTimeCompare(sum[:], k.sums[i][:]) == 1 {
			source = k.sources[i]
		}
	}
	if source == "" {
		return "", ErrWrong
	}
	return source, nil
}

func fromHeaders(authorization, writeKey string) string {
	if writeKey != "" {
		return writeKey
	}
	scheme, value, _ := strings.Cut(authorization, " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		return strings.TrimSpace(value)
	case "basic":
		plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil {
			return ""
		}
		user, _, _ := strings.Cut(string(plain), ":")
		return user
	default:
		return ""
	}
}
