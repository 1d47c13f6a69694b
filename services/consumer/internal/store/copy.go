package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"weir/services/consumer/internal/step"
)

// load is what one COPY brings into a table.
type load struct {
	table, columns string
	parts          [][]byte    // in COPY's binary format
	all, done      []step.Step // reached when all but its end is sent, and when that is
}

// copyAll commits loads in one transaction, in order, and returns its number. All of it is
// sent at once, and then the answers are read: one round trip, where BEGIN, each COPY and
// COMMIT took one each. A batch of few events spends most of its time on those, above all
// on a machine that has much else to do.
//
// When a COPY fails, PostgreSQL drops what it finds of it and of the rest, and the COMMIT
// ends in ROLLBACK (PostgreSQL documentation, "Frontend/Backend Protocol", "COPY
// Operations").
func (s *Store) copyAll(ctx context.Context, pooled *pgxpool.Conn, loads []load) (xid uint64, err error) {
	conn := pooled.Conn().PgConn()
	w := wire{conn: conn.Conn(), hook: s.Step}
	interrupt := context.AfterFunc(ctx, func() { _ = w.conn.SetWriteDeadline(time.Now()) })
	w.send(loads)
	broken := w.err
	if interrupt() { // else nothing more is to be waited for
		var refused error
		if xid, refused, err = answers(ctx, conn); err == nil {
			return xid, refused
		}
	}
	// Where the conversation stands is unknown: the connection is of no more use. And the
	// server, which may have all of it, is not to go on with what is about to be tried again.
	abandon(pooled.Hijack())
	return 0, outage{errors.Join(err, broken, ctx.Err())} // whatever the last word was
}

func abandon(conn *pgx.Conn) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.PgConn().CancelRequest(ctx)
		_ = conn.Close(ctx)
	}()
}

// answers reads what the server says to both queries, to their end: the transaction's
// number, or why it was refused. The last error is that the connection failed.
func answers(ctx context.Context, conn *pgconn.PgConn) (xid uint64, refused, err error) {
	for ready := 0; ready < 2; {
		message, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return 0, refused, err
		}
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			if refused == nil {
				refused = pgconn.ErrorResponseToPgError(m)
			}
		case *pgproto3.DataRow:
			if xid, err = strconv.ParseUint(string(m.Values[0]), 10, 64); err != nil {
				return 0, refused, fmt.Errorf("pg_current_xact_id: %w", err)
			}
		case *pgproto3.ReadyForQuery:
			ready++
		}
	}
	return xid, refused, nil
}

// wire collects messages for the server.
type wire struct {
	conn net.Conn
	hook step.Hook
	buf  []byte
	err  error
}

// wireSize is from how many bytes on they are sent.
const wireSize = 64 << 10

func (w *wire) send(loads []load) {
	var begin strings.Builder
	begin.WriteString("BEGIN")
	for _, l := range loads {
		fmt.Fprintf(&begin, "; COPY %s (%s) FROM STDIN BINARY", l.table, l.columns)
	}
	begin.WriteString("; SELECT pg_current_xact_id()")
	w.add(&pgproto3.Query{String: begin.String()})
	for _, l := range loads {
		for _, p := range l.parts {
			w.data(p)
		}
		w.at(l.all...)
		w.add(&pgproto3.CopyDone{})
		w.at(l.done...)
	}
	w.at(step.Counted)
	w.add(&pgproto3.Query{String: "COMMIT"})
	w.flush()
}

func (w *wire) add(m pgproto3.FrontendMessage) {
	if w.err == nil {
		w.buf, w.err = m.Encode(w.buf)
	}
}

// data adds CopyData messages.
func (w *wire) data(d []byte) {
	for len(d) > 0 {
		n := min(len(d), wireSize)
		w.buf = append(w.buf, 'd')
		w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(4+n))
		w.buf = append(w.buf, d[:n]...)
		d = d[n:]
		if len(w.buf) >= wireSize {
			w.flush()
		}
	}
}

func (w *wire) flush() {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.conn.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

// at tells a test of steps. What was before them is on its way by then.
func (w *wire) at(steps ...step.Step) {
	if w.hook == nil {
		return
	}
	for _, s := range steps {
		w.flush()
		w.hook.At(s)
	}
}
