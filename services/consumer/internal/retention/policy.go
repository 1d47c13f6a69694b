package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// policies has the Community edition drop and compress by itself, at the ages that are
// set. Policies that are as they should be are left alone; what is compressed stays so
// when compressing is switched off.
func (k *Keeper) policies(ctx context.Context, t table) error {
	_, err := k.alone(ctx, func(tx pgx.Tx) error { return k.retain(ctx, tx, t) })
	if err != nil {
		err = fmt.Errorf("set the retention policy of %s: %w", t.name, err)
	}
	if t.order == "" {
		return err
	}
	_, errCompress := k.alone(ctx, func(tx pgx.Tx) error { return k.compress(ctx, tx, t) })
	if errCompress != nil {
		errCompress = fmt.Errorf("set the columnstore policy of %s: %w", t.name, errCompress)
	}
	return errors.Join(err, errCompress)
}

func (k *Keeper) retain(ctx context.Context, tx pgx.Tx, t table) error {
	age := t.age(k.Config)
	if err := declare(ctx, tx, t.name, age); err != nil {
		return err
	}
	same, err := inForce(ctx, tx, t.name, "policy_retention", "drop_after", age)
	if err != nil || same {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT set_retention_policy($1, $2)`, t.name, age); err != nil {
		return err
	}
	k.Log.Info("The retention policy was set.", "table", t.name, "age", age.String())
	return nil
}

func (k *Keeper) compress(ctx context.Context, tx pgx.Tx, t table) error {
	age := k.Config.Compress
	same, err := inForce(ctx, tx, t.name, "policy_compression", "compress_after", age)
	if err != nil || same {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT set_columnstore_policy($1, $2, $3, $4)`, t.name, age, t.segment, t.order); err != nil {
		return err
	}
	k.Log.Info("The columnstore policy was set.", "table", t.name, "age", age.String())
	return nil
}

// inForce reports whether a table's policy has just that age, 0 being no policy.
func inForce(ctx context.Context, tx pgx.Tx, name, procedure, setting string, age time.Duration) (same bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT coalesce(max((config ->> $3)::interval), '0') = $4::interval AND count(*) <= 1
		FROM timescaledb_information.jobs
		WHERE hypertable_schema = current_schema() AND hypertable_name = $1 AND proc_name = $2`,
		name, procedure, setting, age).Scan(&same)
	return same, err
}
