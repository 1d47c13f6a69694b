// Package client holds a Go client for each service, which `make generate` makes of the
// OpenAPI documents, and, in live, one for the live feed, which no generator can make.
package client
