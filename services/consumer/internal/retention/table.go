package retention

import "time"

// table is a hypertable, and how it is looked after.
type table struct {
	name string
	time string                     // its column of time
	age  func(Config) time.Duration // at which its chunks are dropped; 0 is never
	// probe is the columns and values of a row that no real one is like, at time $1, and
	// probed tells it from the real ones. It makes a chunk, see ahead.
	probe, probed string
	// segment and order are how its chunks are compressed; without any they are not.
	segment, order string
}

var tables = []table{
	{
		name: "events", time: "time", age: func(c Config) time.Duration { return c.Events },
		probe:  `(time, id, type, source) VALUES ($1, '00000000-0000-0000-0000-000000000000', '', '')`,
		probed: `id = '00000000-0000-0000-0000-000000000000'`,
		// By time is how rows are read: listed, verified, rebuilt. A day of 2,000,000
		// takes 114 MB then, of 538. By type and time it is as much, and questions about
		// one type are some ten times as fast; but with hundreds of types each batch of
		// 1,000 rows spans hours, and a page of the list reads them all.
		order: "time DESC",
	},
	counts("rollup_minute", func(c Config) time.Duration { return c.Minutes }, true),
	counts("rollup_hour", func(c Config) time.Duration { return c.Hours }, true),
	counts("rollup_day", func(c Config) time.Duration { return c.Days }, false),
	users("users_minute", func(c Config) time.Duration { return c.Minutes }),
	users("users_hour", func(c Config) time.Duration { return c.Hours }),
	users("users_day", func(c Config) time.Duration { return c.Days }),
}

func counts(name string, age func(Config) time.Duration, compressed bool) table {
	t := table{name: name, time: "bucket", age: age, probe: `(bucket, dimension, key_id, events, value) VALUES ($1, -1, 0, 0, 0)`, probed: "dimension = -1"}
	if compressed {
		// What every question names: a dimension, and a span of time. 111 MB of minutes
		// become 4.8; in the order of keys, 6.2.
		t.segment, t.order = "dimension", "bucket, key_id"
	}
	return t
}

func users(name string, age func(Config) time.Duration) table {
	return table{name: name, time: "bucket", age: age, probe: `(bucket, dimension, key_id, users) VALUES ($1, -1, 0, '')`, probed: "dimension = -1"}
}
