// Package config turns the environment into a service's typed settings.
//
// A setting is a struct field with tags:
//
//	Port int `env:"API_PORT" default:"3001" min:"0" max:"65535" help:"Port of the API."`
//
// Fields may be string, bool, int, int64, float64, time.Duration (days as 90d too),
// []string (separated by commas) or implement encoding.TextUnmarshaler; structs are
// walked. Tags: default; required:"true"; min and max, for numbers and
// durations; oneof, a list separated by spaces. Every fault is reported, not the
// first one: an operator fixes a deployment in one go.
package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Faults lists everything wrong with a configuration, one sentence each.
type Faults []string

// Error joins the faults, one a line.
func (f Faults) Error() string {
	return "configuration:\n  - " + strings.Join(f, "\n  - ")
}

// Validator is implemented by settings with rules that span fields. The error
// may join several (errors.Join).
type Validator interface{ Validate() error }

// Load fills dst, a pointer to a struct, from lookup. The error is a Faults that
// names each variable and rule; values are never part of it, as they may be
// secrets. The settings named in optional may be missing though they are required.
func Load(dst any, lookup func(string) (string, bool), optional ...string) error {
	var faults Faults
	for _, s := range settings(reflect.ValueOf(dst).Elem()) {
		text, found := lookup(s.Name)
		text = strings.TrimSpace(text)
		if !found || text == "" {
			if s.Required && !slices.Contains(optional, s.Name) {
				faults = append(faults, s.Name+" is required: "+s.Help)
				continue
			}
			text = s.Default
		}
		if text == "" {
			continue
		}
		if why := s.set(text); why != "" {
			faults = append(faults, s.Name+" "+why)
		}
	}
	for _, v := range validators(reflect.ValueOf(dst)) {
		for _, line := range strings.Split(errorText(v.Validate()), "\n") {
			if line != "" && len(faults) == 0 || line != "" && !mentions(faults, line) {
				faults = append(faults, line)
			}
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// Setting describes one variable, for the documentation and its test.
type Setting struct {
	Name, Default, Help string
	Required            bool

	tag   reflect.StructTag
	value reflect.Value
}

// Describe lists the settings of a configuration struct in order.
func Describe(cfg any) []Setting {
	v := reflect.New(reflect.TypeOf(cfg))
	return settings(v.Elem())
}

func settings(v reflect.Value) (list []Setting) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, tagged := field.Tag.Lookup("env")
		switch {
		case !field.IsExported() || name == "-":
		case tagged:
			list = append(list, Setting{
				Name: name, Default: field.Tag.Get("default"), Help: field.Tag.Get("help"),
				Required: field.Tag.Get("required") == "true", tag: field.Tag, value: v.Field(i),
			})
		case field.Type.Kind() == reflect.Struct:
			list = append(list, settings(v.Field(i))...)
		}
	}
	return list
}

func validators(v reflect.Value) (list []Validator) {
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Type.Kind() == reflect.Struct && f.Tag.Get("env") == "" {
				list = append(list, validators(v.Field(i).Addr())...)
			}
		}
		return list
	}
	if val, ok := v.Interface().(Validator); ok {
		list = append(list, val)
	}
	return append(list, validators(v.Elem())...)
}

func (s *Setting) set(text string) (why string) {
	if allowed := s.tag.Get("oneof"); allowed != "" && !slices.Contains(strings.Fields(allowed), text) {
		return "must be one of: " + strings.Join(strings.Fields(allowed), ", ")
	}
	if u, ok := s.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return "cannot be read: " + s.Help
		}
		return ""
	}
	switch p := s.value.Addr().Interface().(type) {
	case *string:
		*p = text
	case *[]string:
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*p = append(*p, part)
			}
		}
	case *bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return "must be true or false"
		}
		*p = v
	case *int:
		v, err := strconv.Atoi(text)
		return bounded(s, p, v, err, "a whole number", func(t string) (int, error) { return strconv.Atoi(t) })
	case *int64:
		parse := func(t string) (int64, error) { return strconv.ParseInt(t, 10, 64) }
		v, err := parse(text)
		return bounded(s, p, v, err, "a whole number", parse)
	case *float64:
		parse := func(t string) (float64, error) {
			v, err := strconv.ParseFloat(t, 64)
			if math.IsNaN(v) { // which is within any bounds
				err = strconv.ErrSyntax
			}
			return v, err
		}
		v, err := parse(text)
		return bounded(s, p, v, err, "a number", parse)
	case *time.Duration:
		v, err := parseDuration(text)
		return bounded(s, p, v, err, "a duration such as 500ms, 30s, 2h or 90d", parseDuration)
	default:
		panic(fmt.Sprintf("config: %s has type %s, which cannot be read", s.Name, s.value.Type()))
	}
	return ""
}

// parseDuration reads what time.ParseDuration does, with days of 24 hours before it:
// 90d, 1d12h. Ages are said in days.
func parseDuration(text string) (time.Duration, error) {
	before, rest, found := strings.Cut(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	const day, most = 24 * time.Hour, 100 * 365
	days, err := strconv.ParseUint(before, 10, 64)
	if err != nil || days > most {
		return 0, errors.New("not a number of days")
	}
	v := time.Duration(days) * day
	if rest == "" {
		return v, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 {
		return 0, errors.New("not a duration")
	}
	return v + more, nil
}

type number interface {
	~int | ~int64 | ~float64
}

func bounded[T number](s *Setting, dst *T, v T, err error, what string, parse func(string) (T, error)) string {
	if err != nil {
		return "must be " + what
	}
	for _, bound := range []struct {
		tag, text string
		broken    func(limit T) bool
	}{
		{"min", "at least", func(limit T) bool { return v < limit }},
		{"max", "at most", func(limit T) bool { return v > limit }},
	} {
		text, ok := s.tag.Lookup(bound.tag)
		if !ok {
			continue
		}
		limit, err := parse(text)
		if err != nil {
			panic(fmt.Sprintf("config: %s has an unreadable %s", s.Name, bound.tag))
		}
		if bound.broken(limit) {
			return "must be " + bound.text + " " + text
		}
	}
	*dst = v
	return ""
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// mentions reports whether the variable that line begins with has a fault
// already: a rule over two fields says nothing new when one could not be read.
func mentions(faults Faults, line string) bool {
	name, _, _ := strings.Cut(line, " ")
	return slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, name+" ") })
}

// IsFaults reports whether err is about the configuration.
func IsFaults(err error) bool {
	var f Faults
	return errors.As(err, &f)
}
