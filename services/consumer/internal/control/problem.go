package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
)

// letterErrors are the statuses that the operations on dead letters may answer.
var letterErrors = []int{http.StatusUnprocessableEntity, http.StatusInternalServerError, http.StatusServiceUnavailable}

// problem is the one place where failures become HTTP. What it does not know becomes
// a 500, whose cause only the log shows.
func (c *Control) problem(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // the client went away: nobody reads the answer
	}
	if !unavailable(err) {
		return err
	}
	c.Log.Warn("A server is not available for the control API.", "error", err)
	const retryAfter = "2" // seconds; about what a failover takes to pass
	return huma.ErrorWithHeaders(
		huma.Error503ServiceUnavailable("PostgreSQL or Redis cannot be reached just now; try again after the seconds in Retry-After."),
		http.Header{"Retry-After": {retryAfter}})
}

// unavailable tells an outage from our own mistake.
func unavailable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && len(pg.Code) == 5 {
		switch pg.Code[:2] {
		case "08", "53", "57", "58": // connection, resources, operator, system
			return true
		}
		return pg.Code == "25006" // read only: failed over
	}
	for _, code := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "OOM"} {
		if redis.HasErrorPrefix(err, code) {
			return true
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, redis.ErrPoolTimeout) { // the connection broke, or there is none
		return true
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err)
}
