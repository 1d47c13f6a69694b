// Package dashboard is the page at /: plain HTML, style and script modules, part of the
// binary, that show what the service's own interface answers. It needs no other host.
package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var files embed.FS

// policy lets the page run its own scripts and talk to its own host, nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Register puts the page at / and what it loads below /assets/.
func Register(mux *http.ServeMux) {
	entries, err := files.ReadDir("assets")
	if err != nil {
		panic(err) // the binary is built wrongly
	}
	for _, e := range entries {
		at := "GET /assets/" + e.Name()
		if e.Name() == "index.html" {
			at = "GET /{$}"
		}
		mux.Handle(at, serve(e.Name()))
	}
}

// serve answers with one file. Browsers keep it, and ask each time whether it is still
// the same: after an upgrade no page runs with yesterday's script.
func serve(name string) http.HandlerFunc {
	data, err := files.ReadFile(path.Join("assets", name))
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	kind := map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}[path.Ext(name)]
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind+"; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if strings.HasSuffix(name, ".html") {
			h.Set("Content-Security-Policy", policy)
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
	}
}
