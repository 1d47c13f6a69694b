package store

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Fault is what an error means for the batch.
type Fault int

const (
	// Outage: nothing is wrong with the events. The whole batch waits and is tried
	// again, and reading stops.
	Outage Fault = iota
	// Conflict: some event of the batch is stored already.
	Conflict
	// Data: PostgreSQL refuses some row for what is in it.
	Data
)

// Classify tells by SQLSTATE (PostgreSQL documentation, appendix A) what an error
// means. Whatever is not known to be the data's fault is an outage: waiting loses
// nothing, a dead letter needs a person.
func Classify(err error) Fault {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return Outage // the connection, or our own deadline
	}
	if e.Code == "23505" { // unique_violation
		return Conflict
	}
	switch e.Code[:2] {
	case "22", // data exception
		"23", // integrity constraint violation
		"54": // program limit exceeded: a value too large for an index or a row
		return Data
	default:
		return Outage
	}
}

// readOnly reports whether the session may not write: the server was demoted in a
// failover, or told so. A session can stay that way when its server no longer does.
func readOnly(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "25006" // read_only_sql_transaction
}
