package loadgen_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/loadgen"
)

func TestBuiltinProfiles(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"back-fill", "launch-day", "mobile-app", "web-shop"}, loadgen.Names())
	for _, name := range loadgen.Names() {
		p := builtin(t, name)
		require.Equal(t, name, p.Name)
		require.NotEmpty(t, p.Description)
	}
	_, err := loadgen.Builtin("web-show")
	require.ErrorContains(t, err, `no profile "web-show": the built-in ones are back-fill,`)
}

func TestProfileInheritsWholeSections(t *testing.T) {
	t.Parallel()
	p, err := loadgen.ParseProfile([]byte(`{"name": "mine", "shape": {"form": "ramp", "rate": 1, "peak": 2, "period": "90s"}}`))
	require.NoError(t, err)
	shop := builtin(t, "web-shop")
	require.Equal(t, loadgen.Shape{Form: loadgen.FormRamp, Rate: 1, Peak: 2, Period: loadgen.Duration(90 * time.Second)}, p.Shape)
	require.Equal(t, shop.Audience, p.Audience)
	require.Empty(t, p.Description)
}

func TestProfileSurvivesJSON(t *testing.T) {
	t.Parallel()
	for _, name := range loadgen.Names() {
		p := builtin(t, name)
		text, err := json.Marshal(p)
		require.NoError(t, err)
		again, err := loadgen.ParseProfile(text)
		require.NoError(t, err)
		require.Equal(t, p, again)
	}
}

func TestEveryFaultOfAProfileIsNamed(t *testing.T) {
	t.Parallel()
	for text, wants := range map[string][]string{
		`{}`:      {"name"},
		`name: [`: {"yaml"},
		`- a`:     {"profile"},
		"name: x\nshape: {form: ramp, rate: -1, perod: 3s}\nvolume: 7": {"shape.rate: ", "'perod'", "'peak', 'period'", "volume: "},
		"name: x\nshape: {form: constant, rate: 0}":                    {"shape.rate: "},
		"name: x\nshape: {form: steps, rate: 1, peak: 2, period: 1s}":  {"'steps'"},
		"name: x\nshape: {form: sine, rate: 1, peak: 2, period: 0s}":   {"shape.period: "},
		"name: x\nsessions: {gap: soon, spread: 1}":                    {"sessions.gap: 'soon'"},
		"name: x\njourney: {land: {buy: 1}}":                           {"journey.land: ", "'buy'"},
		"name: x\njourney: {land: {browse: 1}, browse: {browse: 1}}":   {"journey: ", "leave"},
		"name: x\nclock: {multiplier: 60, lookback: 0s}":               {"clock.lookback: "},
		"name: x\nfaults: {late: 1.5}":                                 {"faults.late: "},
		"name: x\nfaults: {retried: 0.4, doubled: 0.2}":                {"faults: ", "0.5 at most"},
		"name: x\nunknown: 1":                                          {"'unknown'"},
	} {
		_, err := loadgen.ParseProfile([]byte(text))
		for _, want := range wants {
			require.ErrorContains(t, err, want, text)
		}
	}
}

// TestSchemaAndTypesAgree holds the names in the schema to the fields of the
// types, at every depth.
func TestSchemaAndTypesAgree(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	require.NoError(t, json.Unmarshal(loadgen.Schema, &schema))
	definitions := schema["$defs"].(map[string]any)
	var compare func(where string, schema map[string]any, typ reflect.Type)
	compare = func(where string, schema map[string]any, typ reflect.Type) {
		if ref, ok := schema["$ref"].(string); ok && schema["properties"] == nil {
			schema = definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		if typ.Kind() == reflect.Slice {
			typ, schema = typ.Elem(), schema["items"].(map[string]any)
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		properties := schema["properties"].(map[string]any)
		require.Len(t, properties, typ.NumField(), where)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			require.Contains(t, properties, name, where)
			compare(where+"."+name, properties[name].(map[string]any), typ.Field(i).Type)
		}
	}
	compare("profile", schema, reflect.TypeFor[loadgen.Profile]())
}
