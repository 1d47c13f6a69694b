package body

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Encodings are the values of Content-Encoding that are taken.
const Encodings = "gzip, deflate, zstd"

// maxWindow is the memory that a zstd frame may ask for: what RFC 9659 has every
// decoder on the web support.
const maxWindow = 8 << 20

// decoder opens and closes streams of one encoding. Decoders are costly to make, so
// they are kept.
type decoder struct {
	open  func(io.Reader) (io.Reader, error)
	close func(io.Reader)
}

var identity = &decoder{
	open:  func(r io.Reader) (io.Reader, error) { return r, nil },
	close: func(io.Reader) {},
}

var (
	gzips  = pooled(func(r io.Reader) (*gzip.Reader, error) { return gzip.NewReader(r) })
	zlibs  = pooled(func(r io.Reader) (zlibReader, error) { return newZlib(r) })
	flates = pooled(func(r io.Reader) (flateReader, error) { return flateReader{flate.NewReader(r)}, nil })
	zstds  = pooled(func(r io.Reader) (*zstd.Decoder, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	})
)

func decoderFor(encoding string) (*decoder, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return identity, nil
	case "gzip", "x-gzip":
		return gzips, nil
	case "deflate":
		return deflates, nil
	case "zstd":
		return zstds, nil
	}
	return nil, huma.ErrorWithHeaders(
		huma.Error415UnsupportedMediaType("The body is encoded as "+strconv.Quote(encoding)+", which is not taken: send it as one of "+Encodings+", or without Content-Encoding."),
		http.Header{"Accept-Encoding": {Encodings}})
}

// deflates reads what "deflate" means by RFC 9110, the zlib format, and what some
// clients send instead, a bare deflate stream. The first two bytes tell: those of zlib
// name method 8 and are a multiple of 31; a bare stream that began so would be a stored
// block with padding that no encoder writes.
var deflates = &decoder{
	open: func(r io.Reader) (io.Reader, error) {
		rest := bufio.NewReader(r)
		head, err := rest.Peek(2)
		if len(head) == 0 {
			return nil, err
		}
		d := &deflated{rest: rest, from: flates}
		if len(head) == 2 && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
			d.from = zlibs
		}
		d.Reader, err = d.from.open(rest)
		return d, err
	},
	close: func(r io.Reader) {
		d := r.(*deflated)
		d.from.close(d.Reader)
	},
}

// deflated is one stream and no more: a second one behind it, which its format does not
// provide for, would otherwise be lost without a word.
type deflated struct {
	io.Reader
	rest *bufio.Reader
	from *decoder
}

var errMore = errors.New("data behind the end of the stream")

func (d *deflated) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		if _, more := d.rest.Peek(1); more == nil {
			return n, errMore
		}
	}
	return n, err
}

type resetter interface {
	io.Reader
	Reset(io.Reader) error
}

func pooled[T resetter](make func(io.Reader) (T, error)) *decoder {
	var pool sync.Pool
	return &decoder{
		open: func(r io.Reader) (io.Reader, error) {
			kept, ok := pool.Get().(T)
			if !ok {
				return make(r)
			}
			if err := kept.Reset(r); err != nil {
				pool.Put(kept)
				return nil, err
			}
			return kept, nil
		},
		close: func(r io.Reader) { pool.Put(r.(T)) },
	}
}

// zlibReader and flateReader give the two libraries' Reset the same shape.
type zlibReader struct{ io.ReadCloser }

func newZlib(r io.Reader) (zlibReader, error) {
	z, err := zlib.NewReader(r)
	return zlibReader{z}, err
}

func (z zlibReader) Reset(r io.Reader) error { return z.ReadCloser.(zlib.Resetter).Reset(r, nil) }

type flateReader struct{ io.ReadCloser }

func (f flateReader) Reset(r io.Reader) error { return f.ReadCloser.(flate.Resetter).Reset(r, nil) }
