package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/store"
)

func TestErrorsAreClassifiedBySQLState(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]store.Fault{
		"23505": store.Conflict, // unique_violation
		"23514": store.Data,     // check_violation
		"23502": store.Data,     // not_null_violation
		"22003": store.Data,     // numeric_value_out_of_range
		"22021": store.Data,     // character_not_in_repertoire
		"22P03": store.Data,     // invalid_binary_representation
		"54000": store.Data,     // program_limit_exceeded: an index row too large
		"08006": store.Outage,   // connection_failure
		"25006": store.Outage,   // read_only_sql_transaction: failed over
		"40001": store.Outage,   // serialization_failure
		"40P01": store.Outage,   // deadlock_detected
		"42P01": store.Outage,   // undefined_table: a bad release
		"42501": store.Outage,   // insufficient_privilege
		"53100": store.Outage,   // disk_full
		"53300": store.Outage,   // too_many_connections
		"55P03": store.Outage,   // lock_not_available
		"57014": store.Outage,   // query_canceled
		"57P01": store.Outage,   // admin_shutdown
		"57P03": store.Outage,   // cannot_connect_now
		"58030": store.Outage,   // io_error
		"XX000": store.Outage,   // internal_error
		"":      store.Outage,
	} {
		err := fmt.Errorf("write batch: %w", &pgconn.PgError{Code: code})
		require.Equal(t, want, store.Classify(err), code)
	}
	for _, err := range []error{io.ErrUnexpectedEOF, context.DeadlineExceeded, errors.New("other")} {
		require.Equal(t, store.Outage, store.Classify(err), err)
	}
}
