// Package build tells which build of Weir this is.
package build

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// Set by the linker in release builds (`make binaries`), which are made where there may
// be no repository to look into.
var version, commit, date string

// Info names a build. What is not known is empty, but for Version.
type Info struct {
	Version string // of the release, or (devel)
	Commit  string // of the source; ends in -dirty when the source was changed since
	Date    string // of the commit, RFC 3339, so that the same source gives the same binary
}

// Read returns what the linker was told, and for what it was not told what the Go
// toolchain found in the repository.
func Read() Info {
	i := Info{version, commit, date}
	found, ok := debug.ReadBuildInfo()
	if !ok {
		i.Version = cmp.Or(i.Version, "unknown")
		return i
	}
	i.Version = cmp.Or(i.Version, found.Main.Version, "(devel)")
	settings := map[string]string{}
	for _, s := range found.Settings {
		settings[s.Key] = s.Value
	}
	if i.Commit == "" && settings["vcs.revision"] != "" {
		i.Commit = settings["vcs.revision"]
		if settings["vcs.modified"] == "true" {
			i.Commit += "-dirty"
		}
	}
	i.Date = cmp.Or(i.Date, settings["vcs.time"])
	return i
}

// String is one line for people.
func (i Info) String() string {
	if i.Commit == "" {
		return i.Version
	}
	return fmt.Sprintf("%s (commit %s, %s)", i.Version, i.Commit, i.Date)
}
