package query

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"
)

// Errors lists the statuses that any operation which asks the database may answer,
// for its documentation.
var Errors = []int{
	http.StatusUnprocessableEntity, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

var errNoConnection = errors.New("no connection to PostgreSQL")

// retryAfter is in seconds. It is about what a failover or a burst takes to pass.
const retryAfter = "2"

// Invalid is the answer to a query parameter that breaks a rule.
func Invalid(parameter, rule string, value any) error {
	return huma.Error422UnprocessableEntity("validation failed",
		&huma.ErrorDetail{Location: "query." + parameter, Message: rule, Value: value})
}

// problem is the one place where failed reads become HTTP. What it does not know
// becomes a 500, whose cause only the log shows.
func (r *Reader) problem(ctx context.Context, err error) error {
	var known huma.StatusError
	switch {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return ctx.Err() // the client went away: nobody reads the answer
	case unavailable(err):
		r.log.WarnContext(ctx, "PostgreSQL is not available.", "error", err)
		return huma.ErrorWithHeaders(
			huma.Error503ServiceUnavailable("The database cannot be reached just now; try again after the seconds in Retry-After."),
			http.Header{"Retry-After": {retryAfter}})
	case timedOut(err):
		return huma.Error504GatewayTimeout("The question took longer than " + r.timeout.String() +
			"; ask for a smaller range, a coarser interval or fewer groups.")
	default:
		return err
	}
}

func timedOut(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "57014" /* query_canceled */ || errors.Is(err, context.DeadlineExceeded)
}

func unavailable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		// Connection, resources, operator, and a replica that had to go on replaying what the
		// question stood in the way of (40): not the question's fault.
		class := pg.Code[:min(2, len(pg.Code))]
		return class == "08" || class == "40" || class == "53" || strings.HasPrefix(pg.Code, "57P")
	}
	if errors.Is(err, errNoConnection) {
		return true
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err)
}
