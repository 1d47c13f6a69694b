package filter

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/shared/event"
)

var purchase = event.Event{
	Type: "purchase", Source: "web", Time: time.Date(2026, 1, 2, 15, 4, 5, 123456000, time.UTC),
	UserID: "u-1", Path: "/blog/one", Country: "DE", Value: 12_500_000, HasValue: true, Currency: "EUR",
	Properties: `{"plan":"team","seats":10.0,"trial":false,"odd name":{"deep":[1]},"none":null,"empty":"","big":1e300,"n":"10"}`,
}

func TestExpressionsTakeWhatTheySay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":                                                        true,
		" \n\t ":                                                  true,
		`type is "purchase"`:                                      true,
		`type = "purchase"`:                                       true,
		`type="purchase"and country="DE"`:                         true,
		`type is not "purchase"`:                                  false,
		`type != "purchase"`:                                      false,
		`type IS "x" OR NOT type is "x"`:                          true,
		`type in ("click", "purchase")`:                           true,
		`type not in ("click", "purchase")`:                       false,
		`country NOT IN ("FR")`:                                   true,
		`path contains "blog"`:                                    true,
		`path contains "Blog"`:                                    false,
		`path contains "%"`:                                       false,
		`path contains ""`:                                        true,
		`referrer contains ""`:                                    false,
		`referrer is ""`:                                          false,
		`referrer is not "x"`:                                     true,
		`not referrer is "x"`:                                     true,
		`referrer not in ("x")`:                                   true,
		`referrer exists`:                                         false,
		`path exists`:                                             true,
		`type exists and time exists`:                             true,
		`value is 12.5`:                                           true,
		`value is 1.25e1`:                                         true,
		`value in (1, 12.50)`:                                     true,
		`value >= 12.5 and value <= 12.5`:                         true,
		`value > 12.5 or value < 12.5`:                            false,
		`value > -1e300 and value < 1e300`:                        true,
		`value exists`:                                            true,
		`time >= "2026-01-02T15:04:05.123456Z"`:                   true,
		`time > "2026-01-02T16:04:05.123456+01:00"`:               false,
		`time is "2026-01-02T15:04:05.123456Z"`:                   true,
		`properties.plan is "team"`:                               true,
		`properties."plan" is "team"`:                             true,
		`properties.plan contains "ea"`:                           true,
		`properties.seats is 10`:                                  true,
		`properties.seats is "10"`:                                false,
		`properties.n is 10`:                                      false,
		`properties.n >= 1`:                                       false,
		`properties.seats >= 10`:                                  true,
		`properties.big > 1e299`:                                  true,
		`properties.trial is false`:                               true,
		`properties.trial is true`:                                false,
		`properties.trial in (true, "x", FALSE)`:                  true,
		`properties."odd name".deep exists`:                       true,
		`properties."odd name".deep."0" exists`:                   false,
		`properties.none exists`:                                  false,
		`properties.none is not 1`:                                true,
		`properties.empty exists`:                                 true,
		`properties.empty is ""`:                                  true,
		`properties.plan.more exists`:                             false,
		`not (properties.nothing < 5)`:                            true,
		`type is "a" or type is "purchase" and country is "FR"`:   false,
		`(type is "a" or type is "purchase") and country is "DE"`: true,
		`not not type is "purchase"`:                              true,
		`not type is "a" and country is "FR"`:                     false,
	} {
		e, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, e.Match(&purchase), text)
	}
}

func TestErrorsTellThePlaceAndWhatWasExpected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		at   int
		rule string
	}{
		{`type`, 4, "expected is, in, contains, exists, or a comparison, found the end"},
		{`colour is "red"`, 0, "expected a field (type, source,"},
		{`"red" is colour`, 0, "expected a field"},
		{`type is purchase`, 8, "expected a value: a string in double quotes, a number, true or false, found purchase"},
		{`type is 'purchase'`, 8, `text is written in double quotes, such as "DE"`},
		{`type is "purchase`, 8, "not closed"},
		{`type is "a\x"`, 8, "must be a JSON string"},
		{`type is "a\u0000"`, 8, "NUL"},
		{`type is 5`, 8, "expected a string"},
		{`type is not in ("a")`, 12, "expected a value"},
		{`type not is "a"`, 9, "expected in"},
		{`type in "a"`, 8, "expected (, found"},
		{`type in ()`, 9, "expected a value"},
		{`type in ("a" "b")`, 13, "expected ), found"},
		{`type > "a"`, 5, "has no order"},
		{`value is "5"`, 9, "expected a number"},
		{`value contains "5"`, 6, "no text"},
		{`value is 1e999999999`, 9, "must be a number of at most 64 characters"},
		{`value is 1-2`, 9, "expected a JSON number"},
		{`value is 01`, 9, "expected a JSON number"},
		{`value is ` + strings.Repeat("1", 65), 9, "at most 64 characters"},
		{`time > "yesterday"`, 7, "expected a time"},
		{`time > 5`, 7, "expected a time"},
		{`properties is "a"`, 11, "expected . and a property's name"},
		{`properties. is "a"`, 15, "expected is, in"}, // a property named is
		{`properties.5 is "a"`, 11, "expected a property's name"},
		{`properties.a > "5"`, 15, "expected a number"},
		{`properties.a contains 5`, 22, "expected a string"},
		{`type is "a" type is "b"`, 12, "expected and, or, or the end, found type"},
		{`(type is "a"`, 12, "expected ), found the end"},
		{`type is "a")`, 11, "expected and, or, or the end"},
		{`type is "a"; DROP TABLE events`, 11, `did not expect ";"`},
		{`type is "a" -- `, 12, "expected and, or, or the end"},
		{"type is \"a\xff\"", 0, "UTF-8"},
		{strings.Repeat("(", 17) + `type is "a"` + strings.Repeat(")", 17), 16, "more than 16 deep"},
		{strings.Repeat("not ", 17) + `type is "a"`, 64, "more than 16 deep"},
		{strings.Repeat(`os exists and `, 64) + `os exists`, 896, "more than 64 conditions"},
		{`type in (` + strings.Repeat(`"a",`, 100) + `"a")`, 409, "more than 100 values"},
		{`type is "` + strings.Repeat("a", MaxSize) + `"`, MaxSize, "at most 4096 bytes"},
		{`properties` + strings.Repeat(".a", 17) + ` exists`, 43, "more than 16 names"},
	} {
		_, err := Parse(c.text)
		var e *Error
		require.ErrorAs(t, err, &e, c.text)
		require.Contains(t, e.Rule, c.rule, c.text)
		require.Equal(t, c.at, e.At, c.text)
	}
}

func TestListsAreReadFromConjunctionsOnly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string][]string{
		"":                                  {},
		`type is "a" and country in ("DE")`: {"type": {"a"}, "country": {"DE"}},
		`type in ("a", "b") and (type = "b" and os is "x")`: {"type": {"b"}, "os": {"x"}},
		`type is "a" and type is "b"`:                       {"type": {}},
		`type is "a" or type is "b"`:                        nil,
		`type is not "a"`:                                   nil,
		`country exists`:                                    nil,
		`path contains "a"`:                                 nil,
		`properties.plan is "team"`:                         nil,
		`value is 5`:                                        nil,
	} {
		e, err := Parse(text)
		require.NoError(t, err)
		lists, ok := e.Lists()
		require.Equal(t, want != nil, ok, text)
		if ok {
			require.Equal(t, want, lists, text)
		}
	}
	e := And(Expr{}, Is("type", "a"), Is("source", "web"))
	lists, ok := e.Lists()
	require.True(t, ok)
	require.Equal(t, map[string][]string{"type": {"a"}, "source": {"web"}}, lists)
	require.True(t, And(Expr{}, Expr{}).All())
}

func TestFieldsAreWhatIsSaidOfEachAlone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                                  {},
		`type is "a" and country in ("DE")`: {"country", "type"},
		`type is not "a" and (country is "DE" or not country exists) and type is not "b"`: {"country", "type"},
		`not (path contains "a" and path contains "b")`:                                   {"path"},
		`type is "a" or country is "DE"`:                                                  nil,
		`not (type is "a" and country is "DE")`:                                           nil,
		`type is "a" and properties.plan is "team"`:                                       nil,
		`value > 5`:                     nil,
		`time > "2026-01-01T00:00:00Z"`: nil,
	} {
		e, err := Parse(text)
		require.NoError(t, err)
		parts, ok := e.Fields()
		require.Equal(t, want != nil, ok, text)
		if ok {
			require.ElementsMatch(t, want, slices.Collect(maps.Keys(parts)), text)
		}
	}
	e, err := Parse(`country is not "DE" and type is not "a" and country is not "FR"`)
	require.NoError(t, err)
	parts, _ := e.Fields()
	for value, taken := range map[string]bool{"DE": false, "FR": false, "US": true, "": true} {
		require.Equal(t, taken, parts["country"].MatchText("country", value), value)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`type is "purchase" and (country in ("DE", "FR") or not path contains "/blog") and properties.plan exists and value >= 10`,
		`properties."odd name".sub != -1.5e3 or time < "2026-01-02T15:04:05Z"`, `type not in ("a",`, `not not not`, `properties..`, "type is \"\\ud800\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			require.True(t, e.At >= 0 && e.At <= len(s))
			return
		}
		e.Match(&purchase)
		n := 0
		sql := e.SQL(func(any) string { n++; return "$" + strconv.Itoa(n) })
		// Nothing of the filter is in the SQL: it has only the letters that we wrote.
		require.NotContains(t, sql, "\"")
		require.NotContains(t, sql, ";")
		require.NotContains(t, sql, "--")
		used := map[string]bool{} // one may be used twice: a property's, for its kind and its value
		for _, placeholder := range regexp.MustCompile(`\$\d+`).FindAllString(sql, -1) {
			used[placeholder] = true
		}
		require.Len(t, used, n)
	})
}

func TestWithinTellsWhichFieldsAreAskedAbout(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		``:                              true,
		`type is "a"`:                   true,
		`not path exists`:               true,
		`country is "DE"`:               false,
		`value > 5`:                     false,
		`time > "2026-01-01T00:00:00Z"`: false,
		`properties.type is "a"`:        false,
		`properties.path exists`:        false,
		`type in ("a", "b") and (path contains "/" or not path is "/b")`:        true,
		`type is "a" and (path is "/" or not (path is "/b" or user_id is "u"))`: false,
	} {
		e, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, e.Within("type", "path"), text)
	}
}

// TestNeedsTakeWhatTheExpressionTakes: what fields need be is asked for, and no more than that.
func TestNeedsTakeWhatTheExpressionTakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                                 ``,
		`type is "a"`:                      `type is "a"`,
		`value > 5`:                        ``,
		`type is "a" and value > 5`:        `type is "a"`,
		`value > 5 and not path exists`:    `not path exists`,
		`type is "a" or value > 5`:         ``,
		`not (type is "a" and value > 5)`:  ``,
		`not (type is "a" or path is "/")`: `not (type is "a" or path is "/")`,
		`type is "a" and (path is "/" or path is "/b" and properties.n is 1)`:                  `type is "a" and (path is "/" or path is "/b")`,
		`(type is "a" and value > 5 or type is "b" and properties.n is 1) and country is "DE"`: `type is "a" or type is "b"`,
	} {
		e, err := Parse(text)
		require.NoError(t, err, text)
		needs, err := Parse(want)
		require.NoError(t, err, want)
		require.Equal(t, needs, e.Needs("type", "path"), text)
	}
}

func TestOrTakesWhatAnyTakes(t *testing.T) {
	t.Parallel()
	a, b := Is("type", "a"), Is("country", "DE")
	require.Equal(t, a, Or(a))
	require.Equal(t, Expr{}, Or(a, Expr{}), "one takes all")
	require.True(t, Or(a, b).Match(&purchase))
	require.False(t, Or(a, Is("country", "FR")).Match(&purchase))
	require.False(t, Or().Match(&purchase))
}
