package config_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/shared/config"
)

type inner struct {
	Wait time.Duration `env:"WAIT" default:"2s" min:"1s" max:"1m" help:"A wait."`
}

type settings struct {
	inner // not exported: not walked
	Inner struct {
		Wait time.Duration `env:"WAIT" default:"2s" min:"1s" max:"1m" help:"A wait."`
	}
	URL   string     `env:"URL" required:"true" help:"Where it is."`
	Port  int        `env:"PORT" default:"80" min:"1" max:"65535"`
	Share float64    `env:"SHARE" default:"0.5" max:"1"`
	Many  int64      `env:"MANY" default:"9000000000"`
	On    bool       `env:"ON" default:"true"`
	Names []string   `env:"NAMES"`
	Mode  string     `env:"MODE" default:"a" oneof:"a b"`
	Level slog.Level `env:"LEVEL" default:"warn" help:"A level."`
}

func (s settings) Validate() error {
	if s.Port == 81 {
		return errors.Join(errors.New("PORT must not be 81"), errors.New("URL and PORT do not go together"))
	}
	return nil
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func TestDefaultsFillWhatIsNotGiven(t *testing.T) {
	t.Parallel()
	var s settings
	require.NoError(t, config.Load(&s, lookup(map[string]string{"URL": "x", "NAMES": " a, b ,,", "PORT": ""})))
	require.Equal(t, 2*time.Second, s.Inner.Wait)
	require.Equal(t, 80, s.Port)
	require.InDelta(t, 0.5, s.Share, 0)
	require.Equal(t, int64(9_000_000_000), s.Many)
	require.True(t, s.On)
	require.Equal(t, []string{"a", "b"}, s.Names)
	require.Equal(t, slog.LevelWarn, s.Level)
}

func TestEveryFaultIsReportedAndNoValueShown(t *testing.T) {
	t.Parallel()
	var s settings
	err := config.Load(&s, lookup(map[string]string{
		"WAIT": "5h", "PORT": "secret", "SHARE": "2", "MANY": "1.5", "ON": "secret", "MODE": "secret", "LEVEL": "secret",
	}))
	require.True(t, config.IsFaults(err))
	require.Equal(t, config.Faults{
		"WAIT must be at most 1m",
		"URL is required: Where it is.",
		"PORT must be a whole number",
		"SHARE must be at most 1",
		"MANY must be a whole number",
		"ON must be true or false",
		"MODE must be one of: a, b",
		"LEVEL cannot be read: A level.",
	}, err)
}

func TestNaNIsNoNumber(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"NaN", "nan", "half"} {
		err := config.Load(new(settings), lookup(map[string]string{"URL": "x", "SHARE": text}))
		require.Equal(t, config.Faults{"SHARE must be a number"}, err, text)
	}
}

func TestWhatIsOptionalMayBeMissingButNotWrong(t *testing.T) {
	t.Parallel()
	var s settings
	require.NoError(t, config.Load(&s, lookup(nil), "URL"))
	require.Empty(t, s.URL)
	require.Equal(t, config.Faults{"PORT must be a whole number"}, config.Load(&s, lookup(map[string]string{"PORT": "x"}), "URL", "PORT"))
}

func TestAgesAreSaidInDays(t *testing.T) {
	t.Parallel()
	type ages struct {
		Age time.Duration `env:"AGE" default:"7d" min:"1d"`
	}
	for text, want := range map[string]time.Duration{
		"": 7 * 24 * time.Hour, "1d": 24 * time.Hour, "90d": 90 * 24 * time.Hour, "1d12h": 36 * time.Hour, "36h": 36 * time.Hour,
	} {
		var a ages
		require.NoError(t, config.Load(&a, lookup(map[string]string{"AGE": text})), text)
		require.Equal(t, want, a.Age, text)
	}
	for _, text := range []string{"d", "-1d", "1.5d", "1d-2h", "1dd", "2h1d", "36501d", "99999999999999999999d", "90"} {
		err := config.Load(new(ages), lookup(map[string]string{"AGE": text}))
		require.Equal(t, config.Faults{"AGE must be a duration such as 500ms, 30s, 2h or 90d"}, err, text)
	}
	err := config.Load(new(ages), lookup(map[string]string{"AGE": "0d"}))
	require.Equal(t, config.Faults{"AGE must be at least 1d"}, err)
}

func TestRulesOverSeveralFieldsAreReportedToo(t *testing.T) {
	t.Parallel()
	var s settings
	err := config.Load(&s, lookup(map[string]string{"URL": "x", "PORT": "81"}))
	require.Equal(t, config.Faults{"PORT must not be 81", "URL and PORT do not go together"}, err)
}

func TestEnvironmentWinsOverDotEnv(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile(filepath.Join(".", ".env"), []byte("# comment\nWEIR_TEST_A=file\nWEIR_TEST_B=\"from file\"\n"), 0o600))
	t.Setenv("WEIR_TEST_A", "environment")
	get, err := config.Environment()
	require.NoError(t, err)
	a, _ := get("WEIR_TEST_A")
	b, _ := get("WEIR_TEST_B")
	_, found := get("WEIR_TEST_C")
	require.Equal(t, "environment", a)
	require.Equal(t, "from file", b)
	require.False(t, found)
}
