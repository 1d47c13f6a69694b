package live

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// full has every message with every field.
func full() map[string]Message {
	place, at := Place{"b3f0c9d25a417e68", 17}, time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	from, totals := at.Truncate(time.Minute), Totals{1, "49.95"}
	snapshot := Snapshot{place, at, from, []Minute{{from, "purchase", 1, "49.95"}}, totals}
	return map[string]Message{
		"snapshot":  snapshot,
		"delta":     Delta(snapshot),
		"top":       Top{place, at, from, "path", []Share{{"/", 2}}, true},
		"events":    Events{place, at, []json.RawMessage{[]byte(`{"type":"purchase"}`)}},
		"heartbeat": Heartbeat{place, at, from, totals},
		"stale":     Stale{place, at},
		"subscribed": Subscribed{place, at, Subscription{
			Metrics: true, Dimensions: []string{"path", "country"}, Events: 5, Filter: `type is "purchase"`}},
		"error": Rejected{place, at, "filter: there is no such field"},
	}
}

// TestTypesAreThoseOfTheDocument holds every message to its schema in the AsyncAPI
// document, which allows no field that it does not name, and sees each that it names.
func TestTypesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	const name = "live.yaml"
	text, err := os.ReadFile("../../" + name)
	require.NoError(t, err)
	text, err = yaml.YAMLToJSON(text)
	require.NoError(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource(name, document))
	var described struct {
		Operations struct {
			Tell struct {
				Messages []map[string]string
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	require.NoError(t, json.Unmarshal(text, &described))
	var told []string
	for _, ref := range described.Operations.Tell.Messages {
		if kind := ref["$ref"][strings.LastIndex(ref["$ref"], "/")+1:]; kind != "pong" { // a client that never says ping
			told = append(told, kind)
		}
	}
	require.ElementsMatch(t, told, slices.Collect(maps.Keys(kinds)))

	seen := map[string]bool{} // every name of a field of any object
	for _, kind := range told {
		message := full()[kind]
		schema, err := compiler.Compile(name + "#/components/messages/" + kind + "/payload")
		require.NoError(t, err)
		data, err := json.Marshal(message)
		require.NoError(t, err)
		data = append([]byte(`{"type":"`+kind+`",`), data[1:]...)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		require.NoError(t, err)
		require.NoError(t, schema.Validate(value), "%s", data)
		back, err := parse(data)
		require.NoError(t, err)
		require.Equal(t, message, back)
		for _, quoted := range strings.Split(string(data), `":`) {
			seen[quoted[strings.LastIndex(quoted, `"`)+1:]] = true
		}
	}
	for _, schema := range []string{"Message", "Minute", "Totals", "Share", "Subscription"} {
		for property := range described.Components.Schemas[schema].Properties {
			require.True(t, seen[property], "%s.%s is in no message", schema, property)
		}
	}
}

func TestMessagesOfNewerServersArePassedOver(t *testing.T) {
	t.Parallel()
	m, err := parse([]byte(`{"type":"weather","seq":"cloudy"}`))
	require.NoError(t, err)
	require.Nil(t, m)
	for _, nonsense := range []string{"", "[]", `{"type":"delta","seq":"one"}`} {
		_, err := parse([]byte(nonsense))
		require.ErrorContains(t, err, "cannot be read", nonsense)
	}
}

// TestUpdatesAreHandedOverOnceAndInOrder takes the place through what a server could get
// wrong.
func TestUpdatesAreHandedOverOnceAndInOrder(t *testing.T) {
	t.Parallel()
	c := New("", Options{})
	answers := make(chan string, 1)
	delta := func(epoch string, seq uint64) Delta { return Delta{Place: Place{epoch, seq}} }
	for _, step := range []struct {
		m     Message
		fresh bool
		fault bool
		place Place
	}{
		{Snapshot{Place: Place{"a", 7}}, true, false, Place{"a", 7}},
		{delta("a", 8), true, false, Place{"a", 8}},
		{delta("a", 8), false, false, Place{"a", 8}},
		{delta("a", 7), false, false, Place{"a", 8}},
		{Heartbeat{Place: Place{"a", 8}}, true, false, Place{"a", 8}},
		{nil, false, false, Place{"a", 8}},
		{delta("a", 10), false, true, Place{}},
		{Snapshot{Place: Place{"b", 0}}, true, false, Place{"b", 0}},
		{delta("c", 1), false, true, Place{}},
	} {
		fresh, err := c.follow(step.m, answers)
		require.Equal(t, step.fresh, fresh, step)
		require.Equal(t, step.fault, err != nil, step)
		require.Equal(t, step.place, c.place, step)
	}
}
