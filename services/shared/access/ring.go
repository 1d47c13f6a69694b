package access

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Source is where keys come from: a setting, or, instead, a file.
type Source struct {
	Setting string   // its name; the file's is that and _FILE
	Keys    []string // given by the setting
	File    string   // has a key a line; empty lines, and those that begin with #, are passed over
}

// Given reports whether there are any.
func (s Source) Given() bool { return len(s.Keys) > 0 || s.File != "" }

func (s Source) list(text string) (list []string) {
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}

// lookAgain is how often a file is looked at while there are requests: so long a key
// that was taken out of it may go on to work.
const lookAgain = time.Second

// Ring has the keys that are good now, in whatever form K they are compared. Those of a
// file are read anew when it changes: keys are exchanged without a restart.
//
// A nil Ring has none.
type Ring[K any] struct {
	source Source
	parse  func([]string) (K, error)
	log    *slog.Logger

	keys  atomic.Pointer[K]
	began time.Time
	due   atomic.Int64 // when to look at the file again, in nanoseconds since began

	mu   sync.Mutex
	seen string // what the last look found
}

// NewRing reads the keys. The error names the setting and what is wrong, never a key.
func NewRing[K any](source Source, parse func([]string) (K, error), log *slog.Logger) (*Ring[K], error) {
	r := &Ring[K]{source: source, parse: parse, log: log, began: time.Now()}
	r.due.Store(int64(lookAgain))
	if source.File == "" {
		keys, err := parse(source.Keys)
		if err != nil {
			return nil, prefixed(source.Setting, err)
		}
		r.keys.Store(&keys)
		return r, nil
	}
	if len(source.Keys) > 0 {
		return nil, fmt.Errorf("%s and %s_FILE are two places for the same keys: give one", source.Setting, source.Setting)
	}
	if err := r.read(); err != nil {
		return nil, prefixed(source.Setting+"_FILE", err)
	}
	return r, nil
}

// Keys returns the keys that are good now.
func (r *Ring[K]) Keys() (keys K) {
	if r == nil {
		return keys
	}
	if r.source.File != "" {
		due, now := r.due.Load(), time.Since(r.began)
		if int64(now) >= due && r.due.CompareAndSwap(due, int64(now+lookAgain)) {
			r.look()
		}
	}
	return *r.keys.Load()
}

// look reads the file anew if it changed. What cannot be used, such as half of a change,
// leaves the keys as they are; it is said once.
func (r *Ring[K]) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.seen
	err := r.read()
	switch {
	case r.seen == before:
	case err != nil:
		r.log.Warn("The file of keys changed and cannot be used; the keys of before are.", "setting", r.source.Setting+"_FILE", "error", err)
	default:
		r.log.Info("The keys were read anew.", "setting", r.source.Setting+"_FILE")
	}
}

func (r *Ring[K]) read() error {
	// The text is compared, not a time: the file is small, and a disk may tell only whole
	// seconds.
	text, err := os.ReadFile(r.source.File)
	if err != nil {
		r.seen = err.Error()
		return fmt.Errorf("cannot be read: %w", err)
	}
	if r.seen == string(text) && r.keys.Load() != nil {
		return nil
	}
	r.seen = string(text)
	list := r.source.list(r.seen)
	if len(list) == 0 {
		return errors.New("names a file without a key") // which must not open the service to everybody
	}
	keys, err := r.parse(list)
	if err != nil {
		return err
	}
	r.keys.Store(&keys)
	return nil
}

// prefixed puts the setting's name before each of joined errors.
func prefixed(setting string, err error) error {
	var errs []error
	for line := range strings.SplitSeq(err.Error(), "\n") {
		errs = append(errs, errors.New(setting+" "+line))
	}
	return errors.Join(errs...)
}
