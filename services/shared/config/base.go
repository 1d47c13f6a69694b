package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/joho/godotenv"
)

// Base is what every service is told.
type Base struct {
	AppEnv        string     `env:"APP_ENV" default:"development" oneof:"development production" help:"development, or production, which refuses to start without API keys."`
	LogLevel      slog.Level `env:"LOG_LEVEL" default:"info" help:"Least severe level that is logged: debug, info, warn or error."`
	LogFormat     string     `env:"LOG_FORMAT" default:"json" oneof:"json text" help:"json, or text for people."`
	BindHost      string     `env:"BIND_HOST" help:"Address that the HTTP servers listen on; empty means all."`
	Traces        string     `env:"OTEL_TRACES_EXPORTER" default:"none" oneof:"none otlp" help:"none, or otlp, which sends traces by OTLP over HTTP. Then OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER and OpenTelemetry's other standard variables count as well."`
	Pprof         bool       `env:"PPROF" default:"false" help:"Serve Go's profiles at /debug/pprof/; for a network that only operators reach."`
	TLS           TLS
	ShutdownGrace time.Duration `env:"SHUTDOWN_GRACE" default:"15s" min:"1s" max:"10m" help:"How long a service may take to stop cleanly after SIGINT or SIGTERM."`
}

// TLS is the certificate that a service shows.
type TLS struct {
	Certificate string `env:"TLS_CERT_FILE" help:"File with the certificate (PEM, with its chain) that the services serve HTTPS with; read anew when it changes. Empty: plain HTTP."`
	Key         string `env:"TLS_KEY_FILE" help:"File with the certificate's private key (PEM)."`
}

// Enabled reports whether to serve HTTPS.
func (t TLS) Enabled() bool { return t.Certificate != "" }

// Validate implements Validator.
func (t TLS) Validate() error {
	if (t.Certificate == "") != (t.Key == "") {
		return errors.New("TLS_CERT_FILE and TLS_KEY_FILE go together: give both or neither")
	}
	return nil
}

// Production reports whether this is a production deployment.
func (b Base) Production() bool { return b.AppEnv == "production" }

// Stream is where the events wait. Ingestion and consumer must agree on it.
type Stream struct {
	Name       string `env:"STREAM_NAME" default:"events" help:"Name of the Redis Stream, and prefix of every other key in Redis."`
	Partitions int    `env:"STREAM_PARTITIONS" default:"1" min:"1" max:"256" help:"How many streams the events are spread over; more than one lets Redis Cluster and several consumers share them."`
}

// Environment returns a lookup over the process's environment, with the
// variables of a .env file in the working directory, if there is one, behind it.
func Environment() (func(string) (string, bool), error) {
	file, err := godotenv.Read(".env")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read .env: %w", err)
	}
	return func(name string) (string, bool) {
		if v, ok := os.LookupEnv(name); ok {
			return v, true
		}
		v, ok := file[name]
		return v, ok
	}, nil
}
