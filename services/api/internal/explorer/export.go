package explorer

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"weir/services/api/internal/access"
	"weir/services/api/internal/filter"
	"weir/services/api/internal/query"
	"weir/services/api/internal/span"
)

const (
	// exportBytes is about how much one page of an export holds in memory, and what is
	// sent between two statements.
	exportBytes = 4 << 20

	// firstPage and maxPage bound the events of a page, whatever their size.
	firstPage, maxPage = 500, 5000

	// writeTimeout is how long a client may take to read a page.
	writeTimeout = time.Minute

	// maxExports bounds the exports under way, and so what they take of the database.
	maxExports = 4
)

// countTrailer tells how many events were sent. Only a whole export ends with it.
const countTrailer = "Weir-Export-Events"

const (
	ndjsonExample = `{"id":"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f","type":"purchase","time":"2026-01-02T15:04:05.123Z","source":"web","user_id":"u-17","value":49.95,"currency":"EUR"}` + "\n"
	csvExample    = "id,type,time,source,user_id,anonymous_id,session_id,path,referrer,country,device,browser,os,value,currency,properties\r\n" +
		"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f,purchase,2026-01-02T15:04:05.123Z,web,u-17,,,,,,,,,49.95,EUR,\r\n"
)

type exportInput struct {
	span.Between
	filter.Input
	Format   string `query:"format" enum:"ndjson,csv" default:"ndjson" doc:"ndjson: an event a line, as JSON; csv: RFC 4180 with a line of names, times in RFC 3339, properties as JSON"`
	Encoding string `header:"Accept-Encoding" doc:"With gzip the answer is compressed" example:"gzip"`
}

func registerExport(api huma.API, r *query.Reader) {
	running := make(chan struct{}, maxExports)
	text := &huma.Schema{Type: huma.TypeString}
	huma.Register(api, huma.Operation{
		OperationID: "export-events", Method: http.MethodGet, Path: "/v1/export", Tags: []string{"Events"},
		Summary: "Stored events as a file, of any size",
		Description: "All events of the range that the filter takes, newest first, streamed. Every event that was stored when the export began is in it " +
			"exactly once; what arrives meanwhile may be in it. A whole export ends with the trailer " + countTrailer + ", the number of events; when something " +
			"fails on the way, the connection is cut instead, in the middle of the chunked body, which HTTP clients report as an error. " +
			"In CSV, a text that a spreadsheet would take for a formula (it begins with = + - @, a tab or a carriage return) gets a ' in front; " +
			"NDJSON has every text as it was sent. An instance runs four exports at once, and answers one more with 503 and Retry-After; a client has a minute to read each few megabytes.",
		Security: access.Required(), Errors: query.Errors,
		Responses: map[string]*huma.Response{"200": {
			Description: "The events",
			Content:     map[string]*huma.MediaType{"application/x-ndjson": {Schema: text, Example: ndjsonExample}, "text/csv": {Schema: text, Example: csvExample}},
		}},
	}, func(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
		s, err := in.Span(time.Now())
		if err != nil {
			return nil, err
		}
		select {
		case running <- struct{}{}:
		default:
			return nil, huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(
				"As many exports as may run are under way; try again after the seconds in Retry-After."), http.Header{"Retry-After": {"10"}})
		}
		// The first page before the status is sent: it tells whether the question is good.
		e := export{reader: r, input: in, from: s.From, to: s.To}
		first, err := e.page(ctx, firstPage)
		if err != nil {
			<-running
			return nil, err
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			defer func() { <-running }()
			e.send(ctx, first)
		}}, nil
	})
}

// export sends one page after the other. Between them it holds no connection to the
// database, so a slow client takes nothing from others; and no transaction stays open
// that would keep the database from cleaning up.
type export struct {
	reader   *query.Reader
	input    *exportInput
	from, to time.Time
	after    *position // the last event that was read; nil before the first
}

// page reads what comes next, and moves on behind it.
func (e *export) page(ctx context.Context, limit int) (page, error) {
	p, err := newPage(e.input.Input, e.from, e.to, limit)
	if err != nil {
		return p, err
	}
	if e.after != nil {
		p.startAfter(*e.after)
	}
	if _, err := p.ask(ctx, e.reader); err != nil {
		return p, err
	}
	switch {
	case p.full():
		at := p.items[len(p.items)-1].position()
		e.after = &at
	case p.spent():
		e.after = &position{time: p.passed}
	}
	return p, nil
}

// send writes the pages. When something fails it cuts the connection: after the status
// has been sent there is no other way to tell.
func (e *export) send(ctx huma.Context, p page) {
	r, w := humago.Unwrap(ctx)
	control := http.NewResponseController(w)
	must := func(err error) {
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}

	name, contentType := "events-"+e.from.Format("20060102T1504Z")+"-"+e.to.Format("20060102T1504Z")+"."+e.input.Format, "application/x-ndjson"
	if e.input.Format == "csv" {
		contentType = "text/csv; charset=utf-8; header=present"
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Trailer", countTrailer)

	var body io.Writer = w
	var compressed *gzip.Writer
	if acceptsGzip(e.input.Encoding) {
		h.Set("Content-Encoding", "gzip")
		compressed, _ = gzip.NewWriterLevel(w, gzip.BestSpeed) // fails only with a wrong level
		body = compressed
	}
	ctx.SetStatus(http.StatusOK) // sends the headers
	out := newEncoder(e.input.Format, body)
	must(out.begin())
	sent := 0
	for {
		must(control.SetWriteDeadline(time.Now().Add(writeTimeout)))
		before := out.size()
		for i := range p.items {
			must(out.event(&p.items[i]))
		}
		must(out.flush())
		sent += len(p.items)
		if !p.done() {
			break
		}
		limit := maxPage
		if n := len(p.items); n > 0 {
			limit = min(max(exportBytes*n/max(out.size()-before, 1), 10), maxPage)
		}
		var err error
		p, err = e.page(r.Context(), limit)
		must(err)
	}
	if compressed != nil {
		must(compressed.Close())
	}
	h.Set(countTrailer, strconv.Itoa(sent))
	must(control.Flush())
}

// acceptsGzip reads an Accept-Encoding header.
func acceptsGzip(header string) bool {
	for _, one := range strings.Split(header, ",") {
		coding, params, _ := strings.Cut(one, ";")
		if coding = strings.ToLower(strings.TrimSpace(coding)); coding != "gzip" && coding != "*" {
			continue
		}
		weight, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		q, err := strconv.ParseFloat(weight, 64)
		return !ok || err == nil && q > 0
	}
	return false
}
