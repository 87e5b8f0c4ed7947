package dbtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/containerd/errdefs"
	_ "github.com/jackc/pgx/v5/stdlib" // wait.ForSQL names this driver
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/wait"

	"gatehouse.example/internal/pgdev"
)

const (
	askTimeout  = 5 * time.Second // for answers of the engine and the registry
	pullTimeout = 5 * time.Minute // once the registry has answered
	serverPort  = "5432/tcp"
	dataFolder  = "/pgdata" // set here, because it differs between the images' versions
)

// lifeline is the container's program around the image's own. The test process holds the
// container's standard input open. When that process is gone, for whatever reason, cat ends. It is
// process 1, so the container ends with it. The server is another process. It can be stopped and
// started again, while the container keeps its address and its memory.
const lifeline = `docker-entrypoint.sh "$@" & exec cat >/dev/null`

// box is a container with a PostgreSQL in it.
type box struct {
	url       string
	engine    *testcontainers.DockerClient
	container *testcontainers.DockerContainer
	input     client.ContainerAttachResult // holds the container's standard input open
}

// runContainer runs the image of POSTGRES_IMAGE, if a container engine answers, and has the image
// or can get it.
func runContainer(ctx context.Context, settings ...string) (*PrivateServer, error) {
	log.SetDefault(log.NewNoopLogger())
	// The library's own way to clean up is one more container, of one more image. The lifeline
	// needs neither.
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		return nil, err
	}
	image := cmp.Or(os.Getenv("POSTGRES_IMAGE"), "postgres:17-alpine")
	engine, err := findImage(ctx, image)
	if err != nil {
		return nil, err
	}
	b := &box{engine: engine}
	if err := b.run(ctx, image, settings); err != nil {
		return nil, errors.Join(err, b.Remove())
	}
	return &PrivateServer{"container " + image, b}, nil
}

// findImage returns an error if the image cannot be had. A pull would hang where no registry
// answers.
func findImage(ctx context.Context, image string) (*testcontainers.DockerClient, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	engine, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, fmt.Errorf("no container engine answers: %w", err)
	}
	_, err = engine.ImageInspect(ctx, image)
	if errdefs.IsNotFound(err) {
		_, err = engine.DistributionInspect(ctx, image, client.DistributionInspectOptions{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the engine has no image %s and can't get it: %w", image,
			err), engine.Close())
	}
	return engine, nil
}

func (b *box) run(ctx context.Context, image string, settings []string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	password := rand.Text()
	command := []string{"postgres"}
	for _, setting := range append(pgdev.TestSettings(), settings...) {
		command = append(command, "-c", setting)
	}
	answers := wait.ForSQL(serverPort, "pgx", func(host string, port network.Port) string {
		b.url = pgdev.URL(net.JoinHostPort(host, port.Port()), password)
		return b.url
	})
	b.container, err = testcontainers.Run(ctx, image,
		testcontainers.WithEnv(
			map[string]string{"POSTGRES_PASSWORD": password, "PGDATA": dataFolder}),
		testcontainers.WithTmpfs(map[string]string{dataFolder: "rw"}),
		testcontainers.WithEntrypoint("sh", "-c", lifeline, "sh"),
		testcontainers.WithCmd(command...),
		testcontainers.WithExposedPorts(serverPort),
		testcontainers.WithHostConfigModifier(
			func(host *container.HostConfig) { host.AutoRemove = true }),
		testcontainers.WithConfigModifier(
			func(c *container.Config) { c.OpenStdin, c.StdinOnce = true, true }),
		testcontainers.WithLifecycleHooks(testcontainers.ContainerLifecycleHooks{
			PreStarts: []testcontainers.ContainerHook{b.holdInput},
		}),
		testcontainers.WithWaitStrategy(
			answers.WithStartupTimeout(time.Minute).WithPollInterval(50*time.Millisecond)))
	return err
}

// holdInput opens the standard input of the container, which is about to start.
func (b *box) holdInput(ctx context.Context, c testcontainers.Container) (err error) {
	b.input, err = b.engine.ContainerAttach(context.WithoutCancel(ctx), c.GetContainerID(),
		client.ContainerAttachOptions{Stream: true, Stdin: true})
	return err
}

func (b *box) URL() string { return b.url }

func (b *box) Stop() error { return b.control(context.Background(), "stop", "--mode=fast") }

func (b *box) Restart(ctx context.Context) error {
	return b.control(ctx, "start", "--log=/tmp/log")
}

func (b *box) control(ctx context.Context, args ...string) error {
	code, output, err := b.container.Exec(ctx, append([]string{"pg_ctl", "--wait"}, args...),
		exec.WithUser("postgres"))
	if err == nil && code != 0 {
		text, _ := io.ReadAll(output)
		err = fmt.Errorf("pg_ctl %s: %s", args[0], text)
	}
	return err
}

// Remove removes the container and what is in it.
func (b *box) Remove() error {
	err := testcontainers.TerminateContainer(b.container, testcontainers.StopTimeout(0))
	if b.input.Conn != nil {
		b.input.Close()
	}
	return errors.Join(err, b.engine.Close())
}
