// Package access decides by keys who may use an interface: read keys for the api, admin
// keys for what controls the other services.
package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Admin are the keys that may control. It is embedded in the configuration of the
// services that have something to control.
type Admin struct {
	Keys []string `env:"ADMIN_KEYS" help:"Keys that may control the consumer, its dead letters and the generator, separated by commas; sent as a Bearer token. Without any, in development, everybody may; in production the consumer does not start, and the generator cannot be controlled."`
	File string   `env:"ADMIN_KEYS_FILE" help:"File with these keys instead, one a line; read anew when it changes, so that keys are exchanged without a restart."`
}

// Source is where the admin keys come from.
func (a Admin) Source() Source { return Source{"ADMIN_KEYS", a.Keys, a.File} }

// Validate implements config.Validator.
func (a Admin) Validate() error {
	_, err := New("admin", a.Source(), nil)
	return err
}

// Keys is a set of keys. Its zero value lets everybody in.
type Keys struct {
	kind string
	ring *Ring[sums]
}

// sums are the keys' digests.
type sums []Pass

// New makes the set of keys of a source. kind is their name in problems and in the
// OpenAPI document: read, admin. The error is that of NewRing.
func New(kind string, source Source, log *slog.Logger) (Keys, error) {
	ring, err := NewRing(source, func(list []string) (sums, error) {
		var s sums
		for _, key := range list {
			s = append(s, sha256.Sum256([]byte(key)))
		}
		return s, nil
	}, log)
	return Keys{kind, ring}, err
}

// Pass stands for the key with which somebody was let in, long after: it is its digest.
// That of whom no key was asked is the zero value.
type Pass [sha256.Size]byte

// Check returns 0 when an Authorization header carries one of the keys, or there are
// none to have; else 401, without a key, or 403, with one that is not known. The time
// that it takes tells nothing about the keys: digests are compared, and all of them.
func (k Keys) Check(authorization string) (status int) {
	_, status = k.Admit(authorization)
	return status
}

// Admit is Check, and gives whoever may enter a pass.
func (k Keys) Admit(authorization string) (p Pass, status int) {
	if len(k.ring.Keys()) == 0 {
		return Pass{}, 0
	}
	scheme, key, _ := strings.Cut(authorization, " ")
	key = strings.TrimSpace(key)
	if !strings.EqualFold(scheme, "bearer") || key == "" {
		return Pass{}, http.StatusUnauthorized
	}
	if p = sha256.Sum256([]byte(key)); !k.Good(p) {
		return Pass{}, http.StatusForbidden
	}
	return p, 0
}

// Good reports whether a pass still is: its key may have been withdrawn.
func (k Keys) Good(p Pass) bool {
	known := k.ring.Keys()
	found := 0
	for i := range known {
		found |= subtle.ConstantTimeCompare(p[:], known[i][:])
	}
	return found == 1 || len(known) == 0
}

// Refusal is the text for a status of Check.
func (k Keys) Refusal(status int) string {
	if status == http.StatusForbidden {
		return "This is none of the " + k.kind + " keys."
	}
	return "This needs one of the " + k.kind + " keys: send the header Authorization: Bearer <key>."
}

// Operations is a middleware that refuses whoever has no key, on the operations that
// declare a security.
func (k Keys) Operations(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		status := 0
		if len(ctx.Operation().Security) > 0 {
			status = k.Check(ctx.Header("Authorization"))
		}
		if status == 0 {
			next(ctx)
			return
		}
		if status == http.StatusUnauthorized {
			ctx.SetHeader("WWW-Authenticate", "Bearer")
		}
		_ = huma.WriteErr(api, ctx, status, k.Refusal(status))
	}
}

// AdminScheme is the name of admin keys in the OpenAPI documents.
const AdminScheme = "adminKey"

// DescribeAdmin adds the scheme to a document.
func DescribeAdmin(document *huma.OpenAPI) {
	if document.Components.SecuritySchemes == nil {
		document.Components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	document.Components.SecuritySchemes[AdminScheme] = &huma.SecurityScheme{Type: "http", Scheme: "bearer",
		Description: "One of ADMIN_KEYS. Without any, in development, none is asked for."}
}

// NeedsAdmin is what an operation that needs an admin key declares.
func NeedsAdmin() []map[string][]string { return []map[string][]string{{AdminScheme: {}}} }
