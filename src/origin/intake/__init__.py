"""What DataHub tells: metering points, issued GGOs, early events, back-fill, jobs, technologies."""
