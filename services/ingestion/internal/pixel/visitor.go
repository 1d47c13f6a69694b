package pixel

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"sync"
	"time"

	"weir/services/ingestion/internal/collector"
)

// visitors tells visitors apart who bring no id: by a hash of address and browser,
// with a salt that changes every day and is nowhere but here. So nobody can be followed
// beyond the day, or found from what is stored. Each instance, and each start of it, has
// a salt of its own, and counts them anew.
type visitors struct {
	mu   sync.Mutex
	day  int64
	salt [sha256.Size]byte
}

func newVisitors() *visitors { return &visitors{day: -1} }

func (v *visitors) of(r *collector.Request) string {
	salt := v.today(time.Now())
	host, _, _ := net.SplitHostPort(r.RemoteAddr())
	h := hmac.New(sha256.New, salt[:])
	for _, part := range []string{host, r.Header().Get("X-Forwarded-For"), r.Header().Get("User-Agent")} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return "v-" + hex.EncodeToString(h.Sum(nil)[:12])
}

func (v *visitors) today(now time.Time) [sha256.Size]byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	if day := now.Unix() / (24 * 60 * 60); day != v.day {
		v.day = day
		_, _ = rand.Read(v.salt[:]) // never fails: crypto/rand ends the program instead
	}
	return v.salt
}
