package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// findPostgres returns a postgres whose installation has TimescaleDB. Debian keeps
// its servers outside PATH.
func findPostgres(getenv func(string) string) (string, error) {
	var dirs []string
	if config, err := lookPath(getenv, "pg_config"); err == nil {
		if out, err := exec.Command(config, "--bindir").Output(); err == nil {
			dirs = append(dirs, strings.TrimSpace(string(out)))
		}
	}
	if found, err := lookPath(getenv, "postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(found))
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Reverse(debian) // newest first
	dirs = append(dirs, debian...)

	var plain []string
	for _, dir := range dirs {
		postgres := filepath.Join(dir, "postgres")
		if !executable(postgres) {
			continue
		}
		if hasTimescaleFiles(dir) {
			return postgres, nil
		}
		plain = append(plain, postgres)
	}
	if len(plain) > 0 {
		slices.Sort(plain)
		return "", fmt.Errorf("%s has no timescaledb extension", strings.Join(slices.Compact(plain), ", "))
	}
	return "", errors.New("no postgres by pg_config, in PATH or in /usr/lib/postgresql/*/bin")
}

// hasTimescaleFiles looks for the extension's control file where the installation
// with this directory of binaries keeps such files.
func hasTimescaleFiles(binDir string) bool {
	shares := []string{
		filepath.Join(binDir, "../share"),
		filepath.Join(binDir, "../share/postgresql"),
		filepath.Join("/usr/share/postgresql", filepath.Base(filepath.Dir(binDir))), // Debian
	}
	if out, err := exec.Command(filepath.Join(binDir, "pg_config"), "--sharedir").Output(); err == nil {
		shares = append(shares, strings.TrimSpace(string(out)))
	}
	return slices.ContainsFunc(shares, func(share string) bool {
		_, err := os.Stat(filepath.Join(share, "extension/timescaledb.control"))
		return err == nil
	})
}

// lookPath is exec.LookPath in the PATH of the given environment.
func lookPath(getenv func(string) string, name string) (string, error) {
	for _, dir := range filepath.SplitList(getenv("PATH")) {
		if path := filepath.Join(dir, name); filepath.IsAbs(path) && executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s in PATH", name)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
