// Command aging_server is a Flight server that ends each connection after a second and takes one call at a time.
//
// A DoGet's ticket is a number n: its stream has the rows 100n … 100n+99 in five batches. The flight named by a path is
// made of as many endpoints as the path says. The action "echo" returns its body. The first line printed is the address.
package main

import (
	"context"
	"fmt"
	"log"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	rowsOfTicket = 100
	rowsOfBatch  = 20
	pause        = 2 * time.Millisecond
)

var schema = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)

type server struct{ flight.BaseFlightServer }

func (*server) GetFlightInfo(_ context.Context, descriptor *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	if len(descriptor.Path) != 1 {
		return nil, status.Error(codes.InvalidArgument, "expected a path of one part")
	}
	count, err := strconv.Atoi(descriptor.Path[0])
	if err != nil || count < 1 || count > 10_000 {
		return nil, status.Error(codes.InvalidArgument, "expected a number of endpoints from 1 to 10,000")
	}
	info := &flight.FlightInfo{
		Schema:           flight.SerializeSchema(schema, memory.DefaultAllocator),
		FlightDescriptor: descriptor,
		TotalRecords:     int64(count * rowsOfTicket),
		TotalBytes:       -1,
	}
	for i := range count {
		ticket := &flight.Ticket{Ticket: []byte(strconv.Itoa(i))}
		info.Endpoint = append(info.Endpoint, &flight.FlightEndpoint{Ticket: ticket})
	}
	return info, nil
}

func (*server) DoGet(ticket *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	number, err := strconv.ParseInt(string(ticket.Ticket), 10, 32)
	if err != nil {
		return status.Error(codes.InvalidArgument, "expected a number as ticket")
	}
	writer := flight.NewRecordWriter(stream, ipc.WithSchema(schema))
	defer writer.Close()
	for first := int64(0); first < rowsOfTicket; first += rowsOfBatch {
		if err := writeRows(writer, number*rowsOfTicket+first); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	return nil
}

func writeRows(writer *flight.Writer, first int64) error {
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	for i := range int64(rowsOfBatch) {
		builder.Field(0).(*array.Int64Builder).Append(first + i)
	}
	batch := builder.NewRecordBatch()
	defer batch.Release()
	return writer.Write(batch)
}

func (*server) DoAction(action *flight.Action, stream flight.FlightService_DoActionServer) error {
	if action.Type != "echo" {
		return status.Error(codes.Unimplemented, "expected the action echo")
	}
	return stream.Send(&flight.Result{Body: action.Body})
}

func main() {
	ages := keepalive.ServerParameters{MaxConnectionAge: time.Second, MaxConnectionAgeGrace: 2 * time.Second}
	served := flight.NewServerWithMiddleware(nil, grpc.KeepaliveParams(ages), grpc.MaxConcurrentStreams(1))
	if err := served.Init("127.0.0.1:0"); err != nil {
		log.Fatal(err)
	}
	served.RegisterFlightService(&server{})
	fmt.Println(served.Addr())
	log.Fatal(served.Serve())
}
