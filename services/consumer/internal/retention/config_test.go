package retention_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/retention"
	"weir/services/shared/config"
)

func load(t *testing.T, settings ...string) (c retention.Config, err error) {
	t.Helper()
	env := map[string]string{}
	for i := 0; i < len(settings); i += 2 {
		env[settings[i]] = settings[i+1]
	}
	err = config.Load(&c, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return c, err
}

func TestNothingIsDeletedUnlessSomebodySaysSo(t *testing.T) {
	t.Parallel()
	c, err := load(t)
	require.NoError(t, err)
	require.Zero(t, c.Events+c.Minutes+c.Hours+c.Days+c.DeadLetters)
}

func TestAgesThatWouldLeaveHolesAreRefused(t *testing.T) {
	t.Parallel()
	for _, good := range [][]string{
		{"RETENTION_EVENTS", "90d"},
		{"RETENTION_EVENTS", "90d", "RETENTION_MINUTES", "90d", "RETENTION_HOURS", "400d", "RETENTION_DAYS", "3650d"},
		{"RETENTION_DEAD_LETTERS", "1d", "COMPRESS_AFTER", "0"},
	} {
		_, err := load(t, good...)
		require.NoError(t, err, good)
	}
	for want, bad := range map[string][]string{
		"RETENTION_EVENTS must be 0 or at least 1d":                        {"RETENTION_EVENTS", "90m"},
		"RETENTION_DAYS must be 0 or at least 1d":                          {"RETENTION_DAYS", "-1h"},
		"RETENTION_DEAD_LETTERS must be 0 or at least 1d":                  {"RETENTION_DEAD_LETTERS", "1h"},
		"COMPRESS_AFTER must be 0 or at least 1d":                          {"COMPRESS_AFTER", "1h"},
		"RETENTION_MINUTES must be 0 (for ever) or at least RETENTION_EVE": {"RETENTION_MINUTES", "30d"},
		"RETENTION_HOURS must be 0 (for ever) or at least RETENTION_MINUT": {"RETENTION_EVENTS", "9d", "RETENTION_MINUTES", "30d", "RETENTION_HOURS", "29d"},
	} {
		_, err := load(t, bad...)
		require.True(t, config.IsFaults(err))
		require.ErrorContains(t, err, want)
	}
}
