package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/moby/moby/client"
)

// debianImage holds both servers as Debian 13 packages them: TimescaleDB there is the
// Apache edition. It is what runs where no registry answers but Debian's mirrors do.
const debianImage = "weir-servers:debian13"

const debianSuite = "trixie"

// buildTimeout bounds a build: 45 s is usual, most of it the download.
const buildTimeout = 15 * time.Minute

var mmdebstrapArgs = []string{
	"--variant=minbase",
	"--include=postgresql-17,postgresql-17-timescaledb,redis-server",
	"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
	// The package makes a cluster with peer authentication; postgres.go makes ours.
	"--customize-hook=rm -rf \"$1\"/var/lib/postgresql/17",
	debianSuite, "-",
}

var debianImageChanges = []string{
	"ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"ENV LANG=C.UTF-8",
	// Data on a volume is not written through the layers of the image.
	"VOLUME /var/lib/postgresql", "VOLUME /var/lib/redis",
	"EXPOSE 5432", "EXPOSE 6379",
	"LABEL weir.servers=debian13",
}

// buildDebian makes debianImage with mmdebstrap, or waits for the process that is
// just doing so.
func buildDebian(ctx context.Context, docker *client.Client, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	unlock, err := lock(ctx, lockPath("weir-servers-build"), "builds "+debianImage, o)
	if err != nil {
		return err
	}
	defer unlock()
	if present, err := imagePresent(ctx, docker, debianImage); present || err != nil {
		return err
	}

	mmdebstrap, err := findMmdebstrap(ctx, o)
	if err != nil {
		return err
	}
	o.Log("building %s from Debian packages with mmdebstrap (once; about 45 s)", debianImage)
	began := time.Now()
	if err := importTar(ctx, docker, debianImage, exec.CommandContext(ctx, mmdebstrap, mmdebstrapArgs...)); err != nil {
		return err
	}
	o.Log("built %s in %.0f s", debianImage, time.Since(began).Seconds())
	return nil
}

// importTar makes the image from what the command writes, without a file between. A
// command that fails breaks the stream off, so that no half image is imported.
func importTar(ctx context.Context, docker *client.Client, ref string, command *exec.Cmd) error {
	var complaints bytes.Buffer
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, &complaints
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", command.Path, err)
	}
	ended := make(chan error, 1)
	go func() {
		err := command.Wait()
		if err == nil {
			_ = writer.Close()
		} else {
			_ = writer.CloseWithError(errors.New("the archive broke off"))
			err = fmt.Errorf("%s: %w: %s", filepath.Base(command.Path), err, tail(complaints.Bytes()))
		}
		ended <- err
	}()

	errImport := func() error {
		response, err := docker.ImageImport(ctx, client.ImageImportSource{Source: reader, SourceName: "-"}, ref,
			client.ImageImportOptions{Message: "Debian packages", Changes: debianImageChanges})
		if err != nil {
			return err
		}
		defer response.Close()
		// The answer is the image's id, or an error in the same stream.
		answer, err := io.ReadAll(response)
		if err == nil && bytes.Contains(answer, []byte(`"error"`)) {
			err = errors.New(tail(answer))
		}
		return err
	}()
	_ = reader.Close() // when Docker gave up first, the command must not wait for it
	return errors.Join(<-ended, wrap("import the image", errImport))
}

func findMmdebstrap(ctx context.Context, o Options) (string, error) {
	return aptInstall(ctx, o, func() (string, error) {
		path, err := lookPath(o.Getenv, "mmdebstrap")
		if err == nil && !keyringKnowsSuite() {
			err = fmt.Errorf("the package debian-archive-keyring here does not know Debian %s", debianSuite)
		}
		return path, err
	}, "mmdebstrap", "debian-archive-keyring")
}

// keyringKnowsSuite looks for the suite's key, which older keyring packages lack.
func keyringKnowsSuite() bool {
	keys, _ := filepath.Glob("/usr/share/keyrings/debian-archive-" + debianSuite + "-*")
	return len(keys) > 0
}
