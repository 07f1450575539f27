// Command default_client reads flights with the client that arrow-go gives by default, which takes messages of up to
// 4 MiB: default_client ADDRESS PATH…. It prints one line of JSON for each path, with what came or the error.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

type outcome struct {
	Rows    int64   `json:"rows"`
	Columns int     `json:"columns"`
	Batches int     `json:"batches"`
	Sum     float64 `json:"sum"`
	Error   string  `json:"error,omitempty"`
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: default_client ADDRESS PATH…")
	}
	client, err := flight.NewClientWithMiddleware(os.Args[1], nil, nil,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for _, path := range os.Args[2:] {
		found := outcome{}
		if err := found.read(client, path); err != nil {
			found.Error = err.Error()
		}
		line, err := json.Marshal(found)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(line))
	}
}

func (found *outcome) read(client flight.Client, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	info, err := client.GetFlightInfo(ctx, &flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: []string{path}})
	if err != nil {
		return err
	}
	for _, endpoint := range info.Endpoint {
		stream, err := client.DoGet(ctx, endpoint.Ticket)
		if err != nil {
			return err
		}
		reader, err := flight.NewRecordReader(stream)
		if err != nil {
			return err
		}
		found.count(reader)
		if err := reader.Err(); err != nil {
			return err
		}
		reader.Release()
	}
	return nil
}

// count reads a stream to its end; the sum is that of the first column, which holds doubles.
func (found *outcome) count(reader *flight.Reader) {
	found.Columns = reader.Schema().NumFields()
	for reader.Next() {
		batch := reader.RecordBatch()
		found.Batches++
		found.Rows += batch.NumRows()
		for _, value := range batch.Column(0).(*array.Float64).Float64Values() {
			found.Sum += value
		}
	}
}
