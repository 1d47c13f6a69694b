package body_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/danielgtaylor/huma/v2"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/body"
)

const limit = 1 << 20

var encoders = map[string]func(io.Writer) io.WriteCloser{
	"identity":     func(w io.Writer) io.WriteCloser { return plain{w} },
	"gzip":         func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"deflate":      func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"bare deflate": func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 6); return f },
	"zstd":         func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// encode writes text n times in the encoding, and returns the Content-Encoding too.
func encode(t testing.TB, encoding, text string, n int) (string, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := encoders[encoding](&b)
	for range n {
		_, err := io.WriteString(w, text)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return strings.TrimPrefix(encoding, "bare "), b.Bytes()
}

func TestEveryEncodingIsReadBackOftenAndAtOnce(t *testing.T) {
	t.Parallel()
	bodies := body.NewReader(64 * limit)
	for encoding := range encoders {
		for _, text := range []string{"", "{}", strings.Repeat(`{"type":"click"}`, 5000), strings.Repeat("x", limit)} {
			t.Run(encoding, func(t *testing.T) {
				t.Parallel()
				header, encoded := encode(t, encoding, text, 1)
				for _, declared := range []int64{-1, int64(len(encoded))} {
					got, err := bodies.Read(iotest.HalfReader(bytes.NewReader(encoded)), header, declared, limit)
					require.NoError(t, err)
					require.Equal(t, text, got.String())
					got.Release()
				}
			})
		}
	}
}

func TestBadBodiesAreTheClientsFault(t *testing.T) {
	t.Parallel()
	for encoding := range encoders {
		header, whole := encode(t, encoding, `{"type":"click"}`, 100)
		_, bomb := encode(t, encoding, strings.Repeat("\x00", 1<<16), 1<<10) // 64 MiB
		for name, c := range map[string]struct {
			from   io.Reader
			status int
		}{
			"truncated": {io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), iotest.ErrReader(io.ErrUnexpectedEOF)), http.StatusBadRequest},
			"cut off":   {iotest.ErrReader(errors.New("connection reset")), http.StatusBadRequest},
			"bomb":      {bytes.NewReader(bomb), http.StatusRequestEntityTooLarge},
			"slow":      {iotest.ErrReader(os.ErrDeadlineExceeded), http.StatusRequestTimeout},
		} {
			_, err := body.NewReader(limit*2).Read(c.from, header, -1, limit)
			require.Equal(t, c.status, status(t, err), "%s %s: %v", encoding, name, err)
		}
		if encoding == "identity" {
			continue
		}
		for name, sent := range map[string][]byte{
			"shortened": whole[:len(whole)-3], "half": whole[:len(whole)/2], "nothing of it": []byte(`{"type":"click"}`), "more behind it": append(whole[:len(whole):len(whole)], "more"...),
		} {
			_, err := body.NewReader(limit).Read(bytes.NewReader(sent), header, int64(len(sent)), limit)
			require.Equal(t, http.StatusBadRequest, status(t, err), "%s %s: %v", encoding, name, err)
			require.ErrorContains(t, err, header)
		}
	}
	_, err := body.NewReader(limit).Read(strings.NewReader("{}"), "br", 2, limit)
	require.Equal(t, http.StatusUnsupportedMediaType, status(t, err))
	var headers huma.HeadersError
	require.ErrorAs(t, err, &headers)
	require.Equal(t, body.Encodings, headers.GetHeaders().Get("Accept-Encoding"))
	_, err = body.NewReader(limit).Read(strings.NewReader("{}"), "", limit+1, limit)
	require.Equal(t, http.StatusRequestEntityTooLarge, status(t, err))
}

func TestBodiesShareTheMemoryAndGiveItBack(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", limit)
	for encoding := range encoders {
		header, encoded := encode(t, encoding, text, 1)
		bodies := body.NewReader(2*limit + 64<<10)
		read := func(from io.Reader) (*body.Text, error) { return bodies.Read(from, header, int64(len(encoded)), limit) }
		one, err := read(bytes.NewReader(encoded))
		require.NoError(t, err)
		two, err := read(bytes.NewReader(encoded))
		require.NoError(t, err)
		_, err = read(bytes.NewReader(encoded))
		require.Equal(t, http.StatusServiceUnavailable, status(t, err), encoding)
		one.Release()
		for range 10 { // what fails half way gives it back too
			_, err = read(io.MultiReader(bytes.NewReader(encoded[:len(encoded)-1]), iotest.ErrReader(io.ErrUnexpectedEOF)))
			require.Equal(t, http.StatusBadRequest, status(t, err), encoding)
		}
		one, err = read(bytes.NewReader(encoded))
		require.NoError(t, err, encoding)
		one.Release()
		two.Release()
	}
}

// FuzzRead: whatever bytes come, the answer is a text within the limit or a problem
// that is the client's, and the memory comes back.
func FuzzRead(f *testing.F) {
	for encoding := range encoders {
		header, encoded := encode(f, encoding, `{"type":"click","user_id":"u1"}`, 3)
		f.Add(header, encoded)
		f.Add(header, encoded[:len(encoded)/2])
	}
	const small = 1 << 12
	f.Fuzz(func(t *testing.T, encoding string, encoded []byte) {
		bodies := body.NewReader(small + 64<<10)
		for range 2 {
			text, err := bodies.Read(bytes.NewReader(encoded), encoding, int64(len(encoded)), small)
			if err != nil {
				require.Less(t, status(t, err), 500)
				continue
			}
			require.LessOrEqual(t, len(text.String()), small)
			text.Release()
		}
	})
}

func status(t *testing.T, err error) int {
	t.Helper()
	var s huma.StatusError
	require.True(t, errors.As(err, &s), "%v", err)
	return s.GetStatus()
}
