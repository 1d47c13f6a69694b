package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// image is what a product's container is made from.
type image struct {
	ref    string
	debian bool // made by debian.go, and run in its manner
}

func (i image) String() string {
	if i.debian {
		return i.ref + " (built locally from Debian packages)"
	}
	return i.ref
}

// Images makes the images present, as Start would, and returns their names.
func Images(ctx context.Context, o Options) ([]string, error) {
	o = o.withDefaults()
	docker, err := connectDocker(ctx, o)
	if err != nil {
		return nil, err
	}
	defer docker.Close()
	var names []string
	for _, p := range []product{redisProduct, postgresProduct} {
		found, err := findImage(ctx, docker, o, p)
		if err != nil {
			return names, err
		}
		names = append(names, found.String())
	}
	return slices.Compact(names), nil
}

// findImage returns the first of: the official image when present, the Debian image
// when present, the official image pulled, the Debian image built. An image named by
// its variable is the only one that will do.
func findImage(ctx context.Context, docker *client.Client, o Options, p product) (image, error) {
	ref, named := p.image, false
	if v := o.Getenv(p.imageVar); v != "" {
		ref, named = v, true
	}
	candidates := []string{ref}
	if !named {
		candidates = append(candidates, debianImage)
	}
	for _, candidate := range candidates {
		present, err := imagePresent(ctx, docker, candidate)
		if err != nil {
			return image{}, err
		}
		if present {
			return image{candidate, candidate == debianImage}, nil
		}
	}

	if ref != debianImage {
		errPull := pull(ctx, docker, o, ref)
		if errPull == nil {
			return image{ref, false}, nil
		}
		if named {
			return image{}, fmt.Errorf("%s names %s: %w", p.imageVar, ref, errPull)
		}
		o.Log("%v", errPull)
	}
	if err := buildDebian(ctx, docker, o); err != nil {
		return image{}, fmt.Errorf("%s cannot be pulled; build %s instead: %w", ref, debianImage, err)
	}
	return image{debianImage, true}, nil
}

func imagePresent(ctx context.Context, docker *client.Client, ref string) (bool, error) {
	_, err := docker.ImageInspect(ctx, ref)
	if cerrdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("inspect image %s: %w", ref, err)
	}
	return true, nil
}

// pullStall is how long a pull may be silent. A slow registry still reports progress;
// where there is none, some engines fail at once and others wait on a dead connection.
const pullStall = 20 * time.Second

func pull(ctx context.Context, docker *client.Client, o Options, ref string) error {
	o.Log("pulling %s", ref)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(pullStall, func() { cancel(errors.New("no progress for " + pullStall.String())) })
	defer stalled.Stop()

	err := func() error {
		progress, err := docker.ImagePull(ctx, ref, client.ImagePullOptions{})
		if err != nil {
			return err
		}
		defer progress.Close()
		for message, err := range progress.JSONMessages(ctx) {
			if err != nil {
				return err
			}
			if message.Error != nil {
				return message.Error
			}
			stalled.Reset(pullStall)
		}
		return ctx.Err()
	}()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return wrap("pull "+ref, err)
}
