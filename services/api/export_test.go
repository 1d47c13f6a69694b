package api_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

// export reads a whole export. The client decompresses nothing by itself.
func (w *world) export(params url.Values, header ...string) (*http.Response, []byte) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.address+"/v1/export?"+params.Encode(), nil)
	require.NoError(w.t, err)
	request.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := w.http.Do(request)
	require.NoError(w.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	require.Equal(w.t, http.StatusOK, response.StatusCode, "%s", body)
	return response, body
}

func TestExportIsWhatThePagesShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	now := time.Now()
	var events []event.Event
	for i := range 1300 { // several pages of an export
		e := pageView(now.Add(-time.Duration(i%500) * time.Second))
		e.Path, e.Country = fmt.Sprintf("/%d", i%9), []string{"DE", "FR", ""}[i%3]
		if i%2 == 0 {
			e.Value, e.HasValue, e.Currency = -int64(i)*250_000, true, "EUR"
		}
		events = append(events, e)
	}
	hostile := pageView(now.Add(-time.Second))
	hostile.Path, hostile.UserID, hostile.Properties = "=HYPERLINK(\"http://example.com\")", "@x,\"y\"\nz", `{"a": "=1+1"}`
	w.store(append(events, hostile)...)
	w.start()

	for _, filter := range []string{"", `country is "DE"`, `path contains "HYPER"`, `country is "nowhere"`} {
		params := ranged(now.Add(-time.Hour), now.Add(time.Hour), "filter", filter)
		var want []map[string]any
		pages := url.Values{"filter": {filter}, "limit": {"1000"}}
		for {
			var page answeredList
			w.ok("/v1/events", pages, &page)
			want = append(want, page.Items...)
			if page.NextCursor == nil {
				break
			}
			pages.Set("cursor", *page.NextCursor)
		}

		response, body := w.export(params)
		require.Equal(t, "application/x-ndjson", response.Header.Get("Content-Type"))
		require.Equal(t, fmt.Sprint(len(want)), response.Trailer.Get("Weir-Export-Events"))
		var got []map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		for d.More() {
			var e map[string]any
			require.NoError(t, d.Decode(&e))
			got = append(got, e)
		}
		require.Equal(t, want, got)
		require.Equal(t, len(want), bytes.Count(body, []byte("\n")), "a line each")

		response, packed := w.export(params, "Accept-Encoding", "deflate, gzip;q=0.5")
		require.Equal(t, "gzip", response.Header.Get("Content-Encoding"))
		unpack, err := gzip.NewReader(bytes.NewReader(packed))
		require.NoError(t, err)
		unpacked, err := io.ReadAll(unpack)
		require.NoError(t, err)
		require.Equal(t, body, unpacked)

		params.Set("format", "csv")
		response, body = w.export(params)
		require.Contains(t, response.Header.Get("Content-Disposition"), ".csv")
		table, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
		require.NoError(t, err)
		require.Len(t, table, len(want)+1)
		for i, row := range table[1:] {
			for k, name := range table[0] {
				switch v := want[i][name].(type) {
				case nil:
					require.Empty(t, row[k])
				case map[string]any:
					require.JSONEq(t, `{"a": "=1+1"}`, row[k])
				case json.Number:
					require.Equal(t, v.String(), row[k], "a number stays one, a negative one too")
				default:
					if text := v.(string); strings.HasPrefix(text, "=") || strings.HasPrefix(text, "@") {
						require.Equal(t, "'"+text, row[k], "no spreadsheet runs it")
					} else {
						require.Equal(t, text, row[k])
					}
				}
			}
		}
	}
}

// halfway begins an export and stops it in the middle, where its next statement waits for a
// lock until unlock. ended gets what reading the rest ended with.
func (w *world) halfway(ctx context.Context) (response *http.Response, ended chan error, unlock func()) {
	w.t.Helper()
	now := time.Now()
	var events []event.Event
	for i := range 2500 { // 25 MB, more than the connection holds by itself, see below
		e := pageView(now.Add(-time.Duration(i) * time.Second))
		e.Properties = `{"much": "` + strings.Repeat("x", 10_000) + `"}`
		events = append(events, e)
	}
	w.store(events...)
	w.start("API_STATEMENT_TIMEOUT", "2m", "LIVE_RECONCILE", "1h").current()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+"/v1/export", nil)
	require.NoError(w.t, err)
	request.Header.Set("Accept-Encoding", "identity") // compressed, all of it would be on its way
	// Systems that hold 32 MiB for a reader that does not read are common.
	slow := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn, conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	}}}
	response, err = slow.Do(request)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = response.Body.Close() })
	body := bufio.NewReader(response.Body)
	_, err = body.ReadString('\n')
	require.NoError(w.t, err)
	unlock = w.lockTables()
	ended = make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, body)
		ended <- err
	}()
	eventually(w.t, "the export waits for the lock", func() bool { return w.waiting() == 1 })
	return response, ended, unlock
}

// An export that fails on the way must not look like a short one.
func TestExportThatFailsOnTheWayIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	response, ended, unlock := w.halfway(t.Context())
	defer unlock()
	_, err := w.pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'weir-api' AND wait_event_type = 'Lock' AND datname = current_database()`)
	require.NoError(t, err)
	err = <-ended
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Empty(t, response.Trailer.Get("Weir-Export-Events"))
}

// Whoever goes away in the middle of an export does not keep the database busy.
func TestExportIsCancelledWithItsRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	ctx, cancel := context.WithCancel(t.Context())
	_, ended, unlock := w.halfway(ctx)
	defer unlock()
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	eventually(t, "its statement has ended", func() bool { return w.waiting() == 0 })
}

func TestFifthExportAtOnceIsToldToComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.store(pageView(time.Now()))
	w.start("API_STATEMENT_TIMEOUT", "2m", "LIVE_RECONCILE", "1h").current()
	for range 4 { // what is refused takes no place
		require.Equal(t, http.StatusUnprocessableEntity, w.get("/v1/export", url.Values{"filter": {"country is"}}, nil).StatusCode)
	}
	unlock := w.lockTables()
	ended := make(chan error, 4)
	for range cap(ended) {
		go func() {
			response, err := w.http.Get("http://" + w.address + "/v1/export")
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				err = errors.Join(err, response.Body.Close())
			}
			if err == nil && response.Trailer.Get("Weir-Export-Events") != "1" {
				err = fmt.Errorf("%s, %v", response.Status, response.Trailer)
			}
			ended <- err
		}()
	}
	eventually(t, "four wait for the lock", func() bool { return w.waiting() == 4 })
	var p problem
	response := w.get("/v1/export", nil, &p)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Equal(t, "10", response.Header.Get("Retry-After"))
	require.Contains(t, p.Detail, "As many exports as may run are under way")
	unlock()
	for range cap(ended) {
		require.NoError(t, <-ended)
	}
	// A client has read all a moment before its place is free.
	eventually(t, "there is a place again", func() bool { return w.get("/v1/export", nil, nil).StatusCode == http.StatusOK })
}

func TestPageThatFindsLittleSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	minute := time.Now().Add(-time.Hour).Truncate(time.Minute)
	rare := pageView(minute.Add(-10 * time.Hour))
	rare.Country = "NZ"
	w.store(rare, pageView(minute))
	// As if there were millions in each of ten hours: the rollups say so.
	_, err := w.pool.Exec(t.Context(), `INSERT INTO rollup_deltas (minute, key_id, events, dimension, value)
		SELECT minute - 60 * n, key_id, 300000, dimension, 0 FROM rollup_deltas, generate_series(0, 9) AS n
		WHERE dimension = 0 AND minute = extract(epoch FROM $1::timestamptz) / 60`, minute)
	require.NoError(t, err)
	w.start()
	params := url.Values{"filter": {`country is "NZ"`}}
	var found []string
	reached := time.Now()
	pages := 0
	for more := true; more; pages++ {
		var page struct {
			Meta struct {
				ScannedTo *time.Time `json:"scanned_to"`
			}
			answeredList
		}
		w.ok("/v1/events", params, &page)
		for _, item := range page.Items {
			found = append(found, item["id"].(string))
		}
		if more = page.NextCursor != nil; more {
			require.True(t, page.Meta.ScannedTo.Before(reached))
			reached = *page.Meta.ScannedTo
			params.Set("cursor", *page.NextCursor)
		} else {
			require.Nil(t, page.Meta.ScannedTo)
		}
	}
	require.Equal(t, []string{rare.ID.String()}, found)
	require.Greater(t, pages, 3)
	require.Less(t, pages, 10)

	params.Set("filter", `country is "DE"`) // with the last cursor
	var p problem
	require.Equal(t, http.StatusUnprocessableEntity, w.get("/v1/events", params, &p).StatusCode)
	require.Equal(t, "query.cursor", p.Errors[0].Location)
	require.Contains(t, p.Errors[0].Message, "another filter")
}
