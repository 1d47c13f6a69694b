// Package edition tells what database server Weir stands on. TimescaleDB comes as
// Community and as Apache; Weir gives the same answers on both, and leaves to
// Community what it can do by itself: compress old rows and drop those past their age.
package edition

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Edition is TimescaleDB's licence, which decides what it can do.
type Edition string

// The editions.
const (
	Community Edition = "community" // compression, policies and all else
	Apache    Edition = "apache"    // none of these; what Debian and some clouds ship
)

// Server is the database server, as it tells it.
type Server struct {
	Edition     Edition
	TimescaleDB string // the extension's version in this database, such as 2.29.2
	PostgreSQL  string // the server's version, such as 17.12
}

// Querier is a connection, a pool or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// The licence is what the server acts on: an Apache build knows only "apache", and a
// Community server that was set to it refuses the same functions.
const detect = `
SELECT CASE current_setting('timescaledb.license') WHEN 'apache' THEN 'apache' ELSE 'community' END,
       extversion, split_part(current_setting('server_version'), ' ', 1)
FROM pg_extension WHERE extname = 'timescaledb'`

// Detect asks the server.
func Detect(ctx context.Context, db Querier) (s Server, err error) {
	if err := db.QueryRow(ctx, detect).Scan(&s.Edition, &s.TimescaleDB, &s.PostgreSQL); err != nil {
		return Server{}, fmt.Errorf("detect the edition of TimescaleDB: %w", err)
	}
	return s, nil
}
