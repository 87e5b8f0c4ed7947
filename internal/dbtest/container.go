package dbtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver that wait.ForSQL is given the name of
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/wait"

	"gatehouse/internal/pgdev"
)

const (
	askTimeout  = 2 * time.Second // for an answer of the engine; twice that for one of the registry
	pullTimeout = 5 * time.Minute // once the registry has answered
	serverPort  = "5432/tcp"
	dataFolder  = "/pgdata" // set, because the images' own differ by version
)

// lifeline is the container's program around the image's own. The test process holds the container's standard input
// open; when that process is gone, however it ended, the input is at its end, and postgres, process 1 by then, is told
// to quit. So no container outlives its tests.
const lifeline = `exec 3<&0
(cat <&3 >/dev/null; while kill -QUIT 1; do sleep 1; done) &
exec docker-entrypoint.sh "$@" 3<&-`

// box is a PostgreSQL in a container.
type box struct {
	image     string
	password  string
	url       string
	engine    *testcontainers.DockerClient
	container *testcontainers.DockerContainer
	input     client.ContainerAttachResult // holds the container's standard input open
}

// startContainer makes a server of a container that keeps its data in memory.
func startContainer(ctx context.Context) (*Server, error) {
	b, err := runContainer(ctx,
		testcontainers.WithTmpfs(map[string]string{dataFolder: "rw"}),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) { host.AutoRemove = true }),
	)
	if err != nil {
		return nil, err
	}
	server, err := newServer("container "+b.image, b.url, b.remove)
	if err != nil {
		return nil, errors.Join(err, b.remove())
	}
	return server, nil
}

// withFixedPort publishes the server at a port that stays the same when the container is stopped and started again.
func withFixedPort() (testcontainers.CustomizeRequestOption, error) {
	port, err := pgdev.FreePort()
	if err != nil {
		return nil, err
	}
	binding := network.PortBinding{HostIP: netip.IPv4Unspecified(), HostPort: strconv.Itoa(port)}
	return testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
		host.PortBindings = network.PortMap{network.MustParsePort(serverPort): {binding}}
	}), nil
}

// runContainer runs the image of POSTGRES_IMAGE, if a container engine answers and has it or can get it.
func runContainer(ctx context.Context, options ...testcontainers.ContainerCustomizer) (*box, error) {
	log.SetDefault(log.NewNoopLogger())
	// The library's own way to clean up is one more container, of one more image to get; the lifeline does without.
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		return nil, err
	}
	b := &box{image: cmp.Or(os.Getenv("POSTGRES_IMAGE"), "postgres:17-alpine"), password: rand.Text()}
	if err := b.connect(ctx); err != nil {
		return nil, err
	}
	if err := b.findImage(ctx); err != nil {
		return nil, errors.Join(err, b.engine.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	var err error
	if b.container, err = testcontainers.Run(ctx, b.image, append(b.options(), options...)...); err != nil {
		return nil, errors.Join(err, b.remove())
	}
	endpoint, err := b.container.PortEndpoint(ctx, serverPort, "")
	if err != nil {
		return nil, errors.Join(err, b.remove())
	}
	b.url = b.urlAt(endpoint)
	return b, nil
}

func (b *box) options() []testcontainers.ContainerCustomizer {
	command := []string{"postgres"}
	for _, setting := range pgdev.TestSettings() {
		command = append(command, "-c", setting)
	}
	answers := wait.ForSQL(serverPort, "pgx", func(host string, port network.Port) string {
		return b.urlAt(net.JoinHostPort(host, port.Port()))
	})
	return []testcontainers.ContainerCustomizer{
		testcontainers.WithEnv(map[string]string{
			"POSTGRES_PASSWORD":    b.password,
			"POSTGRES_INITDB_ARGS": "--no-sync",
			"PGDATA":               dataFolder,
		}),
		testcontainers.WithEntrypoint("sh", "-c", lifeline, "sh"),
		testcontainers.WithCmd(command...),
		testcontainers.WithExposedPorts(serverPort),
		testcontainers.WithConfigModifier(func(c *container.Config) { c.OpenStdin, c.StdinOnce = true, true }),
		testcontainers.WithLifecycleHooks(testcontainers.ContainerLifecycleHooks{
			PreStarts: []testcontainers.ContainerHook{b.holdInput},
		}),
		testcontainers.WithWaitStrategy(answers.WithStartupTimeout(time.Minute).WithPollInterval(50 * time.Millisecond)),
	}
}

func (b *box) connect(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if b.engine, err = testcontainers.NewDockerClientWithOpts(ctx); err != nil {
		return fmt.Errorf("no container engine answers: %w", err)
	}
	return nil
}

// findImage returns an error if it is in vain to start the image: a pull would hang where no registry answers.
func (b *box) findImage(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
	defer cancel()
	_, err := b.engine.ImageInspect(ctx, b.image)
	if !errdefs.IsNotFound(err) {
		return err
	}
	if _, err := b.engine.DistributionInspect(ctx, b.image, client.DistributionInspectOptions{}); err != nil {
		return fmt.Errorf("the engine has no image %s and can't get it: %w", b.image, err)
	}
	return nil
}

// holdInput opens the standard input of a container that is about to start.
func (b *box) holdInput(ctx context.Context, c testcontainers.Container) (err error) {
	b.releaseInput()
	b.input, err = b.engine.ContainerAttach(context.WithoutCancel(ctx), c.GetContainerID(),
		client.ContainerAttachOptions{Stream: true, Stdin: true})
	return err
}

func (b *box) releaseInput() {
	if b.input.Conn != nil {
		b.input.Close()
	}
}

func (b *box) urlAt(hostPort string) string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("postgres", b.password),
		Host:     hostPort,
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}).String()
}

// remove ends the server and removes its container and data.
func (b *box) remove() error {
	err := testcontainers.TerminateContainer(b.container, testcontainers.StopTimeout(0))
	b.releaseInput()
	return errors.Join(err, b.engine.Close())
}
