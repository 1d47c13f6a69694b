package client

import "fmt"

// Answered is the answer of an operation of a generated client.
type Answered[T any] interface {
	GetJSON200() *T
	GetBody() []byte
	Status() string
}

// Answer is what an operation answered. Any status but 200 is an error with what was said.
func Answer[T any](r Answered[T], err error) (answer T, _ error) {
	if err != nil {
		return answer, err
	}
	if r.GetJSON200() == nil {
		return answer, fmt.Errorf("answered with %s: %s", r.Status(), r.GetBody())
	}
	return *r.GetJSON200(), nil
}
