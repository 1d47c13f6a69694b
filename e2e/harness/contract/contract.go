// Package contract holds what services take and answer to the OpenAPI documents that they
// serve, so that the documents cannot lie: Transport sees the requests of a whole test
// binary, document.go what an operation says, judge.go whether it is true.
//
// It goes by the documents of OpenAPI 3.1, whose schemas are JSON Schema, and compiles each
// once: thousands of requests are judged while others measure time.
package contract

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// patience is how long a service may take to show its document.
const patience = 30 * time.Second

// Transport judges every request to the services that it knows, and what they answer:
//
//   - An answer has a status, content type, headers and body that the document has.
//   - A request that was answered with success is one that the document allows; one that it
//     does not allow is refused with 4xx, or, before it was looked at, with 503.
//
// A breach is returned in the place of the answer, and kept: a test that tries again after
// an error does not get past it.
type Transport struct {
	base http.RoundTripper

	mu        sync.Mutex
	services  map[string]*document // by host and port
	documents map[string]*document // by their text, as many tests start the same service
	breaches  []error
}

// New returns a transport that sends requests over base.
func New(base http.RoundTripper) *Transport {
	return &Transport{base: base, services: map[string]*document{}, documents: map[string]*document{}}
}

// Hold holds the service at an address such as http://127.0.0.1:3001 to the document that
// it serves, from now on. Another service that listens there later is held anew.
func (t *Transport) Hold(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at, err := url.Parse(address)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/openapi.json", nil)
	if err != nil {
		return err
	}
	answer, err := t.base.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("get the document of %s: %w", address, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("get the document of %s: %w", address, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.documents[string(text)]
	if d == nil {
		if d, err = parse(text); err != nil {
			return fmt.Errorf("read the document of %s: %w", address, err)
		}
		t.documents[string(text)] = d
	}
	t.services[at.Host] = d
	return nil
}

// Release ends what Hold began. Call it before the service stops: what listens at its
// address then may be no service, and would be judged all the same.
func (t *Transport) Release(address string) {
	_, host, _ := strings.Cut(address, "://")
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.services, host)
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	d := t.services[r.URL.Host]
	t.mu.Unlock()
	if d == nil {
		return t.base.RoundTrip(r)
	}
	body, known, err := bodyOf(r)
	if err != nil {
		return nil, err
	}
	answer, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	e := &exchange{document: d, request: r, sent: body, sentKnown: known, answer: answer, breach: t.note}
	if err := e.judge(); err != nil {
		_ = answer.Body.Close()
		return nil, err
	}
	return answer, nil
}

// bodyOf copies what is to be sent. A body that is made while it is sent is not known.
func bodyOf(r *http.Request) (body []byte, known bool, err error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, true, nil
	}
	if r.GetBody == nil {
		return nil, false, nil
	}
	again, err := r.GetBody()
	if err != nil {
		return nil, false, err
	}
	defer again.Close()
	body, err = io.ReadAll(again)
	return body, err == nil, err
}

// note keeps a breach and returns it.
func (t *Transport) note(breach error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.breaches = append(t.breaches, breach)
	return breach
}

// Breaches is what was found, one a line; "" when all were as described.
func (t *Transport) Breaches() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, breach := range t.breaches {
		fmt.Fprintln(&b, breach)
	}
	return b.String()
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// whole reads an answer's body and puts it back.
func whole(answer *http.Response) ([]byte, error) {
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}
