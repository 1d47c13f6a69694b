// Package access decides who may read.
package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"weir/services/shared/httpserver"
)

// Scheme is the name of the keys in the OpenAPI document.
const Scheme = "readKey"

// refusal says what to do, and not which part was wrong.
const refusal = "This needs a read key: send the header Authorization: Bearer <key>."

// Keys are the read keys. With none everybody may read, which configuration allows
// in development only.
type Keys struct{ sums [][sha256.Size]byte }

// New makes the set of keys.
func New(keys []string) Keys {
	var k Keys
	for _, key := range keys {
		k.sums = append(k.sums, sha256.Sum256([]byte(key)))
	}
	return k
}

// Allow reports whether an Authorization header carries one of the keys. The time
// that it takes tells nothing about them: digests are compared, and all of them.
func (k Keys) Allow(authorization string) bool {
	if len(k.sums) == 0 {
		return true
	}
	scheme, key, _ := strings.Cut(authorization, " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
	found := 0
	for i := range k.sums {
		found |= subtle.ConstantTimeCompare(sum[:], k.sums[i][:])
	}
	return found == 1 && strings.EqualFold(scheme, "bearer")
}

// Operations is a middleware that refuses whoever has no key, on the operations
// that declare Scheme as their security.
func (k Keys) Operations(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if len(ctx.Operation().Security) == 0 || k.Allow(ctx.Header("Authorization")) {
			next(ctx)
			return
		}
		ctx.SetHeader("WWW-Authenticate", "Bearer")
		_ = huma.WriteErr(api, ctx, http.StatusUnauthorized, refusal)
	}
}

// Handler wraps a handler that is not an operation in the same way.
func (k Keys) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k.Allow(r.Header.Get("Authorization")) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		httpserver.WriteProblem(w, http.StatusUnauthorized, refusal)
	})
}

// Required is what an operation that needs a key declares.
func Required() []map[string][]string { return []map[string][]string{{Scheme: {}}} }
