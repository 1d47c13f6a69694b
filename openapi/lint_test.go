package openapi_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/speakeasy-api/openapi/linter"
	"github.com/speakeasy-api/openapi/openapi"
	rules "github.com/speakeasy-api/openapi/openapi/linter"
	"github.com/stretchr/testify/require"
)

// exceptions are the rules that do not fit, each with the reason. match is of the fault.
var exceptions = []struct{ rule, match, reason string }{
	{"owasp-string-limit", "", "an answer's texts are as long as events are; parameters are held to it below"},
	{"owasp-string-restricted", "", "the same: most texts are free"},
	{"owasp-integer-limit", "", "a count has no limit that could be promised; parameters are held to it below"},
	{"owasp-array-limit", "", "an answer's lists are bounded by parameters, such as limit; request bodies are held to it below"},
	{"owasp-no-additional-properties", "", "an event's properties, a CloudEvent's extensions and Segment's messages are open by their nature"},
	{"owasp-additional-properties-constrained", "", "the same; they are limited in bytes, which a schema cannot say"},
	{"owasp-rate-limit", "", "the headers are those of the IETF's draft, RateLimit and RateLimit-Policy, and only where there is a limit"},
	{"owasp-define-error-responses-429", "", "only what takes events limits a rate"},
	{"owasp-define-error-responses-401", `/healthz|/readyz|/v1/pixel\.gif`, "open to everybody; the pixel is an image whatever is wrong"},
	{"owasp-define-error-validation", `/v1/pixel\.gif`, "an image whatever is wrong"},
	{"owasp-no-http-basic", "", "Segment's SDKs send the write key so"},
	{"owasp-auth-insecure-schemes", "basic", "the same"},
	{"owasp-no-api-keys-in-url", "", "beacons, images and a browser's WebSocket can send no header: a write key is public by nature, a ticket opens one connection"},
	{"owasp-protection-global-unsafe-strict", "", "in development events are taken without a write key; in production the service does not start without one"},
	{"owasp-no-numeric-ids", "", "dead letters are numbered; whoever may see one may list all"},
	{"owasp-security-hosts-https-oas3", "", "the server is the one that serves the document; where TLS ends is up to whoever runs it"},
	{"style-component-description", "", "a component's fields are described, and where it stands says what it is"},
	{"style-info-contact", "", "whoever runs it is the contact"},
	{"style-license-url", "", "there is an SPDX identifier, and 3.1 allows only one of the two"},
	{"style-oas3-host-trailing-slash", `"/"`, "it is the root, which cannot do without"},
	{"style-operation-error-response", "", "the pixel has none; of all others the test below wants 422"},
	{"style-operation-success-response", "subscribe-live", "the success of a WebSocket is 101"},
	{"oas3-example-missing", "", "fields have examples, and whole bodies, which a test below holds to their schemas"},
}

// TestDocumentsPassEveryRuleOfAPublicLinter holds them to the ruleset "all": OpenAPI's own
// rules, Spectral's, and those of OWASP.
func TestDocumentsPassEveryRuleOfAPublicLinter(t *testing.T) {
	t.Parallel()
	config := &linter.Config{Extends: []string{"all"}}
	off := true
	for _, e := range exceptions {
		entry := linter.RuleEntry{ID: e.rule, Disabled: &off}
		if e.match != "" {
			entry.Match = regexp.MustCompile(e.match)
		}
		config.Rules = append(config.Rules, entry)
	}
	lint, err := rules.NewLinter(config)
	require.NoError(t, err)
	for _, name := range services {
		file, err := os.Open(name + ".yaml")
		require.NoError(t, err)
		document, faults, err := openapi.Unmarshal(t.Context(), file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		out, err := lint.Lint(t.Context(), linter.NewDocumentInfo(document, name+".yaml"), faults, nil)
		require.NoError(t, err)
		if len(out.Results) > 0 {
			t.Errorf("%s.yaml:\n%s", name, out.FormatText())
		}
	}
}
